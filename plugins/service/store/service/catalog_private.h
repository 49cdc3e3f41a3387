/* service/catalog_private.h: between the files that follow the catalog and make tables; see catalog.c. */
#ifndef STORE_CATALOG_PRIVATE_H
#define STORE_CATALOG_PRIVATE_H

#include "service/private.h"

#define TABLE_PREFIX "tables/"

/* catalog_rebuild.c: the work of a store_rebuild whose `service` is set; the rest of it is filled in.  Blocks. */
void store_catalog_rebuild_work(hf_job *job);

/* ensure.c: the catalog's leader makes what the configuration declares and is missing.  The catalog must be there.
 * [main] */
void store_tables_ensure(struct store_service *service);

#endif
