/* Reads the dynamic symbol table of an ELF file; see symbols.h. */
#include "symbols.h"

#include <elf.h>
#include <holdfast/lib/error.h>
#include <string.h>

static const uint8_t *inside(hf_slice file, uint64_t offset, uint64_t size)
{
    return offset > file.size || size > file.size - offset ? NULL : file.data + offset;
}

static int32_t read_section(hf_slice file, const Elf64_Ehdr *header, uint64_t index, Elf64_Shdr *ret_section)
{
    uint64_t offset;

    if (header->e_shentsize != sizeof *ret_section || index >= header->e_shnum ||
        __builtin_add_overflow(header->e_shoff, index * sizeof *ret_section, &offset) ||
        !inside(file, offset, sizeof *ret_section))
        return HF_ECORRUPT;
    memcpy(ret_section, file.data + offset, sizeof *ret_section);
    return HF_OK;
}

/* The linker and the sanitizers add some that are no interface. */
static int32_t is_tools_own(const char *name)
{
    static const char *const prefixes[] = {"__odr_asan",       "__asan_",        "__ubsan_",    "__tsan_",
                                           "__sanitizer_",     "__start_asan",   "__stop_asan", "__sancov_",
                                           "__start___sancov", "__stop___sancov"};
    static const char *const names[] = {"_init", "_fini", "_edata", "_end", "__bss_start"};

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i]) == 0)
            return 1;
    return 0;
}

static int32_t is_exported(const Elf64_Sym *symbol)
{
    int bind = ELF64_ST_BIND(symbol->st_info), visibility = ELF64_ST_VISIBILITY(symbol->st_other);

    return symbol->st_shndx != SHN_UNDEF && bind != STB_LOCAL &&
           (visibility == STV_DEFAULT || visibility == STV_PROTECTED);
}

static int32_t count_symbols(hf_slice symbols, hf_slice names, const char *wanted, uint32_t *ret_count, char *other)
{
    uint32_t count = 0;

    for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= symbols.size; at += sizeof(Elf64_Sym)) {
        Elf64_Sym symbol;
        memcpy(&symbol, symbols.data + at, sizeof symbol);
        if (!is_exported(&symbol))
            continue;
        if (symbol.st_name >= names.size)
            return HF_ECORRUPT;
        const char *name = (const char *)names.data + symbol.st_name;
        size_t size = strnlen(name, names.size - symbol.st_name);
        if (size == names.size - symbol.st_name)
            return HF_ECORRUPT; /* it does not end */
        if (is_tools_own(name))
            continue;
        count++;
        if (strcmp(name, wanted) != 0 && !other[0]) {
            size = size < KIT_SYMBOL_SIZE ? size : KIT_SYMBOL_SIZE - 1;
            memcpy(other, name, size);
            other[size] = '\0';
        }
    }
    *ret_count = count;
    return HF_OK;
}

static int32_t read_tables(hf_slice file, const Elf64_Ehdr *header, const Elf64_Shdr *section, const char *wanted,
                           uint32_t *ret_count, char *other)
{
    Elf64_Shdr names;

    if (read_section(file, header, section->sh_link, &names) != HF_OK)
        return HF_ECORRUPT;
    const uint8_t *symbol_bytes = inside(file, section->sh_offset, section->sh_size);
    const uint8_t *name_bytes = inside(file, names.sh_offset, names.sh_size);
    if (!symbol_bytes || !name_bytes || section->sh_entsize != sizeof(Elf64_Sym))
        return HF_ECORRUPT;
    return count_symbols((hf_slice){symbol_bytes, section->sh_size}, (hf_slice){name_bytes, names.sh_size}, wanted,
                         ret_count, other);
}

int32_t kit_exported_symbols(hf_slice file, const char *wanted, uint32_t *ret_count, char other[KIT_SYMBOL_SIZE],
                             hf_error *error)
{
    const uint8_t *bytes = inside(file, 0, sizeof(Elf64_Ehdr));
    Elf64_Ehdr header;
    Elf64_Shdr section;
    int32_t result = HF_OK;

    other[0] = '\0';
    if (!bytes || memcmp(bytes, ELFMAG, SELFMAG) != 0)
        return hf_error_set(error, HF_EINVAL, "it is not an ELF file");
    memcpy(&header, bytes, sizeof header);
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_DYN)
        return hf_error_set(error, HF_EINVAL, "it is not a 64-bit little-endian shared object");
    for (uint64_t i = 0; i < header.e_shnum && result == HF_OK; i++) {
        result = read_section(file, &header, i, &section);
        if (result == HF_OK && section.sh_type == SHT_DYNSYM) {
            result = read_tables(file, &header, &section, wanted, ret_count, other);
            if (result == HF_OK)
                return HF_OK;
        }
    }
    return result != HF_OK ? hf_error_set(error, result, "a table points outside of the file; build it again")
                           : hf_error_set(error, HF_EINVAL, "it has no dynamic symbol table");
}
