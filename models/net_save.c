/* A net as safetensors: PyTorch's names and shapes, so that strict loading works there, and the
 * metadata that Cask needs to open the file by itself. */
#include "models/net_copy.h"

enum cask_status cask_net_save_with(struct cask_net *net, const char *path,
                                    const struct cask_preprocess *preprocess,
                                    const struct cask_file_tensor *extra, int extra_count,
                                    const struct cask_metadata_entry *entries, int entry_count,
                                    struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    struct cask_net_copy copy = {0};
    CASK_TRY(cask_net_copy_create(net, false, preprocess, extra, extra_count, entries, entry_count,
                                  &copy, err));
    CASK_TRY(cask_safetensors_write(path, copy.tensors, copy.count, copy.entries, copy.entry_count,
                                    err));
done:
    cask_net_copy_release(&copy);
    return st;
}

enum cask_status cask_net_save(struct cask_net *net, const char *path,
                               const struct cask_preprocess *preprocess,
                               const struct cask_metadata_entry *entries, int entry_count,
                               struct cask_error *err)
{
    return cask_net_save_with(net, path, preprocess, NULL, 0, entries, entry_count, err);
}
