/* data/loader_worker.c - a thread that reads, decodes and converts one image at a time. */
#include <string.h>

#include "common/mem.h"
#include "data/loader_impl.h"

struct tools { /* of one thread */
    struct cask_decoder *decoder;
    struct cask_encoded encoded;
    uint8_t *rgb;
};

static enum cask_status create_tools(struct tools *tools, const struct cask_loader *loader,
                                     struct cask_error *err)
{
    enum cask_status st = CASK_OK;
    CASK_TRY(cask_decoder_create(&tools->decoder, err));
    tools->rgb = cask_alloc(loader->pixel_count, 1);
    if (tools->rgb == NULL) {
        CASK_TRY(cask_error_memory(err, loader->pixel_count, "an image's pixels"));
    }
done:
    return st;
}

static void release_tools(struct tools *tools)
{
    cask_decoder_free(tools->decoder);
    cask_encoded_release(&tools->encoded);
    cask_free(tools->rgb);
}

static enum cask_status read_and_decode(struct tools *tools, const struct cask_loader *loader,
                                        int64_t index, struct cask_error *err)
{
    const struct cask_loader_options *options = &loader->options;
    enum cask_status st = cask_dataset_read(options->dataset, index, &tools->encoded, err);
    if (st != CASK_OK) {
        return st; /* its message names the file */
    }
    st = cask_decode(tools->decoder, tools->encoded.data, tools->encoded.bytes,
                     options->preprocess.width, options->preprocess.height, tools->rgb, err);
    if (st != CASK_OK) {
        char name[512];
        cask_dataset_name(options->dataset, index, name, sizeof name);
        cask_error_prefix(err, "%s", name);
    }
    return st;
}

/* Fills place `item` of the slot. Only this thread touches that place, so no lock is held. */
static enum cask_status load_item(struct tools *tools, const struct cask_loader *loader,
                                  struct slot *slot, int item, struct cask_error *err)
{
    const struct cask_loader_options *options = &loader->options;
    struct cask_batch *batch = &slot->batch;
    struct cask_sample sample = cask_sampler_at(&options->sampler, batch->position + item);
    int views = options->both_views ? 2 : 1;
    enum cask_status st = read_and_decode(tools, loader, sample.index, err);
    batch->samples[item] = sample;
    batch->labels[item] = cask_dataset_label(options->dataset, sample.index);
    batch->bad[item] = st != CASK_OK;
    if (st == CASK_ERR_FORMAT || st == CASK_ERR_IO) {
        slot->messages[item] = cask_strdup(err->message);
    } else if (st != CASK_OK) {
        return st;
    }
    for (int view = 0; view < views; view++) {
        float *pixels = batch->pixels + (size_t)(view * batch->count + item) * loader->pixel_count;
        if (st != CASK_OK) {
            memset(pixels, 0, loader->pixel_count * sizeof *pixels);
        } else {
            cask_preprocess_apply(&options->preprocess, tools->rgb, sample.mirror != (view == 1),
                                  pixels);
        }
    }
    return CASK_OK;
}

/* Waits for the next image to load; NULL when there is none. The lock is held. */
static struct slot *take_item(struct cask_loader *loader, int *item)
{
    for (;;) {
        if (loader->stopping || loader->failed != CASK_OK ||
            loader->fill_batch == loader->batches) {
            return NULL;
        }
        struct slot *slot = &loader->slots[loader->fill_batch % loader->slot_count];
        bool begun = loader->fill_item > 0;
        if (!begun && slot->state == SLOT_FREE) {
            slot->state = SLOT_FILLING;
            slot->batch.count = cask_loader_batch_size(loader, loader->fill_batch);
            slot->batch.position = cask_loader_position(loader, loader->fill_batch);
            slot->remaining = slot->batch.count;
            begun = true;
        }
        if (begun) {
            *item = loader->fill_item++;
            if (loader->fill_item == slot->batch.count) {
                loader->fill_item = 0;
                loader->fill_batch++;
            }
            return slot;
        }
        pthread_cond_wait(&loader->slot_freed, &loader->lock);
    }
}

static void fail(struct cask_loader *loader, enum cask_status st, const struct cask_error *err)
{
    if (loader->failed == CASK_OK) {
        loader->failed = st;
        loader->failure = *err;
    }
    pthread_cond_broadcast(&loader->slot_freed);
    pthread_cond_broadcast(&loader->slot_ready);
}

void *cask_loader_worker(void *argument)
{
    struct cask_loader *loader = argument;
    struct tools tools = {0};
    struct cask_error err = {0};
    struct slot *slot;
    int item;
    enum cask_status st = create_tools(&tools, loader, &err);
    pthread_mutex_lock(&loader->lock);
    while (st == CASK_OK && (slot = take_item(loader, &item)) != NULL) {
        pthread_mutex_unlock(&loader->lock);
        st = load_item(&tools, loader, slot, item, &err);
        pthread_mutex_lock(&loader->lock);
        if (--slot->remaining == 0) {
            slot->state = SLOT_READY;
            pthread_cond_broadcast(&loader->slot_ready);
        }
    }
    if (st != CASK_OK) {
        fail(loader, st, &err);
    }
    pthread_mutex_unlock(&loader->lock);
    release_tools(&tools);
    return NULL;
}
