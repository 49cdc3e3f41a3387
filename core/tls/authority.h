/* authority.h: the cluster's own certificate authority, which `holdfast ca` uses.
 *
 * One authority per cluster.  Its certificate carries the cluster's name as organisation; a node's certificate carries
 * it too, and the node's name as common name.  Keys are ECDSA P-256, files are PEM, keys are readable by their owner
 * only.  Functions block on the disk: command line and start-up only. */
#ifndef HOLDFAST_CORE_TLS_AUTHORITY_H
#define HOLDFAST_CORE_TLS_AUTHORITY_H

#include <holdfast/holdfast.h>

/* Makes DIRECTORY/ca.crt and DIRECTORY/ca.key, valid for `days` (1..36500); the directory must exist.  HF_EEXIST: there
 * is an authority already, which is never overwritten.  HF_EINVAL: a bad name. */
int32_t hf_authority_create(const char *directory, const char *cluster, uint32_t days, hf_error *error);

/* Issues DIRECTORY/NODE.crt and DIRECTORY/NODE.key from the authority in the same directory, for servers and clients,
 * with `names` (NULL-terminated host names or IP addresses; may be empty) as further subjects.  The key file is new;
 * a certificate of that name is replaced only when `replace` is not 0, else HF_EEXIST. */
int32_t hf_authority_issue(const char *directory, const char *node, const char *const *names, uint32_t days,
                           int32_t replace, hf_error *error);

#endif
