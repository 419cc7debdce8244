/* cache/tool/export_h5.c - a range of rows as an HDF5 file of plain contiguous arrays: no filter,
 * so any program that knows HDF5 reads it without a plugin. */
#include <unistd.h>

#include "cache/h5_file.h"
#include "cache/tool/tool.h"
#include "common/mem.h"

static enum cask_status put_array(hid_t file, const char *path, const struct tool_array *array,
                                  struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    hsize_t shape[3];
    for (int i = 0; i < array->rank; i++) {
        shape[i] = (hsize_t)array->shape[i];
    }
    hid_t type = cask_h5_type(array->element), space = H5Screate_simple(array->rank, shape, NULL),
          dataset = H5I_INVALID_HID;
    if (type >= 0 && space >= 0) {
        dataset = H5Dcreate2(file, array->name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    }
    if (dataset < 0 || H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, array->data) < 0) {
        st = cask_h5_error(err, path, array->name);
    }
    if (dataset >= 0) {
        H5Dclose(dataset);
    }
    if (space >= 0) {
        H5Sclose(space);
    }
    if (type >= 0) {
        H5Tclose(type);
    }
    return st;
}

enum cask_status tool_write_h5(const char *path, const struct tool_array *arrays, int count,
                               struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    hid_t file = H5I_INVALID_HID;
    char *temp = cask_format("%s.tmp.%ld", path, (long)getpid());
    if (temp == NULL) {
        CASK_TRY(cask_error_memory(err, 256, "file name"));
    }
    CASK_TRY(cask_h5_create(temp, NULL, 0, &file, err));
    for (int i = 0; i < count; i++) {
        CASK_TRY(put_array(file, path, &arrays[i], err));
    }
    CASK_TRY(cask_h5_close(&file, path, err));
    CASK_TRY(cask_file_publish(temp, path, err));
done:
    if (file >= 0) {
        struct cask_error ignored;
        cask_h5_close(&file, path, &ignored);
    }
    if (st != CASK_OK && temp != NULL) {
        unlink(temp);
    }
    cask_free(temp);
    return st;
}
