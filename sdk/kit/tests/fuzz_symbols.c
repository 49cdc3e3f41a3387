/* Any bytes as an ELF file: nothing outside of them is read. */
#include "../common/symbols.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char other[KIT_SYMBOL_SIZE];
    uint32_t count = 0;
    hf_error error = {0};

    kit_exported_symbols((hf_slice){data, size}, "hf_plugin_v1", &count, other, &error);
    return 0;
}
