#include "train/schedule.h"

#include <math.h>

static int milestones_passed(const struct cask_schedule *schedule, int64_t step)
{
    int passed = 0;
    for (int i = 0; i < schedule->milestones.count; i++) {
        double at = schedule->milestones.values[i] * (double)schedule->steps_per_epoch;
        passed += (double)step >= at;
    }
    return passed;
}

double cask_schedule_rate(const struct cask_schedule *schedule, int64_t step)
{
    if (step >= schedule->total_steps) {
        step = schedule->total_steps - 1;
    }
    double warmup = floor(schedule->warmup_epochs * (double)schedule->steps_per_epoch);
    if ((double)step < warmup && schedule->warmup == CASK_WARMUP_INSIGHTFACE) {
        return step == 0 ? schedule->rate : schedule->rate * (double)step / warmup;
    }
    if ((double)step < warmup) {
        return schedule->rate * (double)(step + 1) / warmup;
    }
    double span = (double)schedule->total_steps - warmup;
    double done = span > 0 ? ((double)step - warmup) / span : 0;
    switch (schedule->kind) {
    case CASK_SCHEDULE_POLY:
        return schedule->rate * pow(1 - done, schedule->power);
    case CASK_SCHEDULE_COSINE:
        return schedule->rate * 0.5 * (1 + cos(M_PI * done));
    case CASK_SCHEDULE_STEP:
        break;
    }
    return schedule->rate * pow(schedule->gamma, milestones_passed(schedule, step));
}
