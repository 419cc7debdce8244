# Draws head.svg from head.csv:  gnuplot head.gnuplot   (in this folder)
set datafile separator ','
set terminal svg size 960,420 font 'sans,12' background '#ffffff'
set output 'head.svg'
set multiplot layout 1,2
set logscale xy
set grid lc rgb '#dddddd'
set key top left reverse Left
set ylabel 'ms a step'
head(l) = strcol(1) eq 'head.kind=arcface' ? l : NaN
kd(l) = strcol(1) eq 'loss.kd.weight=1' ? l : NaN
gkd(l) = strcol(1) eq 'loss.gkd.weight=1' ? l : NaN
set xlabel 'classes (batch 128)'
classes(y) = column(2) == 128 && column(5) == 0 && column(9) == 0 ? y : NaN
plot 'head.csv' using 3:(head(classes(column(10)))) with points pt 7 lc rgb '#0072b2' title 'head', \
     '' using 3:(kd(classes(column(10)))) with points pt 5 lc rgb '#d55e00' title 'with KD', \
     '' using 3:(gkd(classes(column(10)))) with points pt 9 lc rgb '#009e73' title 'with GKD', \
     23.5 * 3 * x / 85742 with lines lc rgb '#888888' dt 2 title 'three products at the matmul peak'
set xlabel 'batch (85,742 classes)'
set xrange [12:700]
set xtics (16, 32, 64, 128, 256, 512)
batches(y) = column(3) == 85742 && column(5) == 0 && column(9) == 0 ? y : NaN
plot 'head.csv' using 2:(head(batches(column(10)))) with points pt 7 lc rgb '#0072b2' title 'head', \
     '' using 2:(kd(batches(column(10)))) with points pt 5 lc rgb '#d55e00' title 'with KD', \
     '' using 2:(gkd(batches(column(10)))) with points pt 9 lc rgb '#009e73' title 'with GKD', \
     23.5 * 3 * x / 128 with lines lc rgb '#888888' dt 2 title 'three products at the matmul peak'
