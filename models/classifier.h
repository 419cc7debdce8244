/* models/classifier.h - names of tensors that belong to a classifier. Private to models/. */
#ifndef CASK_MODELS_CLASSIFIER_H
#define CASK_MODELS_CLASSIFIER_H

#include <stdbool.h>

bool cask_is_classifier_name(const char *name);

#endif
