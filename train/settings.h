/* train/settings.h - two sets of settings side by side, key by key.
 *
 * Settings are compared as text, in the form of cask_config_dump: what was written to a run folder
 * is what will be compared next time.
 */
#ifndef CASK_TRAIN_SETTINGS_H
#define CASK_TRAIN_SETTINGS_H

/* Calls `found` for every key whose value differs. Both texts must come from the same rows. */
typedef void (*cask_settings_difference)(const char *key, const char *before, const char *now,
                                         void *user);
void cask_settings_compare(const char *before, const char *now, cask_settings_difference found,
                           void *user);

#endif
