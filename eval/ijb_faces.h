/* eval/ijb_faces.h - the images of IJB as aligned faces. Private to eval/. */
#ifndef CASK_EVAL_IJB_FACES_H
#define CASK_EVAL_IJB_FACES_H

#include "common/hash.h"
#include "eval/faces.h"
#include "eval/ijb.h"

/* Files FOLDER/<name>, "loose crops". Both borrowed. */
struct ijb_crops {
    const struct cask_ijb *set;
    const char *folder;
};
struct cask_faces ijb_faces(const struct ijb_crops *crops);

/* Of all names and landmarks: whose embeddings a folder holds. */
void ijb_fingerprint(const struct cask_ijb *set, char hex[CASK_SHA256_HEX]);

#endif
