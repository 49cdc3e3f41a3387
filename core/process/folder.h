/* folder.h: folders that are still there after a power cut. */
#ifndef HF_PROCESS_FOLDER_H
#define HF_PROCESS_FOLDER_H

#include <holdfast/holdfast.h>

/* Makes the folder `path` when it is missing, and its entry durable: without that, all that is flushed inside it later
 * could be lost with it.  HF_EIO.  Blocks. */
int32_t hf_folder_make(const char *path, uint32_t mode, hf_error *error);

#endif
