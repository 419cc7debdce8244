#!/bin/sh
# Every C file is as clang-format 14 writes it.
set -eu
cd "${CASK_SOURCE:-.}"
command -v clang-format-14 >/dev/null || { echo "skipped: clang-format-14 is not installed"; exit 77; }
files=$(find common kernels models data cache precompute train eval tests -name '*.[ch]')
clang-format-14 --dry-run --Werror $files && echo "$(echo "$files" | wc -w) files are formatted"
