/* accept.h: which encodings of an answer a client takes, by what its fields Accept-Encoding say (RFC 9110, 12.5.3).
 * Pure. */
#ifndef GATEWAY_ACCEPT_H
#define GATEWAY_ACCEPT_H

#include <holdfast/holdfast.h>

/* How much each is liked, in thousandths; < 0: it is not named.  gateway_accept_init begins it. */
struct gateway_accept {
    int32_t gzip, identity, any;
};

void gateway_accept_init(struct gateway_accept *accept);

/* The value of one of the fields. */
void gateway_accept_add(struct gateway_accept *accept, hf_slice value);

/* Whether gzip may be sent, and is not liked less than what is not encoded. */
int32_t gateway_accept_has_gzip(const struct gateway_accept *accept);

#endif
