/* Reads a plugin's manifest note from an ELF file; see note.h. */
#include "note.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <holdfast/lib/error.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char section_name[] = ".note.holdfast";
static const char note_name[] = "Holdfast";

/* The bytes from `offset` on, when `size` of them are inside the file. */
static const uint8_t *inside(hf_slice file, uint64_t offset, uint64_t size)
{
    if (offset > file.size || size > file.size - offset)
        return NULL;
    return file.data + offset;
}

static int32_t read_header(hf_slice file, const char *path, Elf64_Ehdr *ret_header, hf_error *error)
{
    const uint8_t *bytes = inside(file, 0, sizeof *ret_header);

    if (!bytes || memcmp(bytes, ELFMAG, SELFMAG) != 0)
        return hf_error_set(error, HF_EINVAL, "'%s' is not an ELF file, expected a plugin's shared object", path);
    memcpy(ret_header, bytes, sizeof *ret_header);
    if (ret_header->e_ident[EI_CLASS] != ELFCLASS64 || ret_header->e_ident[EI_DATA] != ELFDATA2LSB ||
        ret_header->e_type != ET_DYN)
        return hf_error_set(error, HF_EINVAL, "'%s' is not a 64-bit little-endian shared object", path);
    return 0;
}

static int32_t damaged(const char *path, hf_error *error)
{
    return hf_error_set(error, HF_ECORRUPT, "'%s' is damaged: a section points outside the file; install it again",
                        path);
}

static int32_t read_section(hf_slice file, const Elf64_Ehdr *header, uint64_t index, Elf64_Shdr *ret_section)
{
    if (header->e_shentsize != sizeof *ret_section || index >= header->e_shnum)
        return HF_ECORRUPT;

    uint64_t offset;
    if (__builtin_add_overflow(header->e_shoff, index * sizeof *ret_section, &offset))
        return HF_ECORRUPT;
    const uint8_t *bytes = inside(file, offset, sizeof *ret_section);
    if (!bytes)
        return HF_ECORRUPT;
    memcpy(ret_section, bytes, sizeof *ret_section);
    return 0;
}

static int has_name(hf_slice file, const Elf64_Shdr *names, const Elf64_Shdr *section)
{
    uint64_t offset;

    if (section->sh_name >= names->sh_size || sizeof section_name > names->sh_size - section->sh_name ||
        __builtin_add_overflow(names->sh_offset, section->sh_name, &offset))
        return 0;
    const uint8_t *bytes = inside(file, offset, sizeof section_name);
    return bytes && memcmp(bytes, section_name, sizeof section_name) == 0;
}

/* One note: three 32-bit words (name size, content size, type), then name and content, each padded to 4 bytes. */
static int32_t read_note(hf_slice note, const char *path, hf_slice *ret_json, hf_error *error)
{
    Elf64_Nhdr header;
    uint64_t content_at = sizeof header + ((sizeof note_name + 3) & ~(uint64_t)3);

    if (note.size < content_at)
        return damaged(path, error);
    memcpy(&header, note.data, sizeof header);
    if (header.n_namesz != sizeof note_name || memcmp(note.data + sizeof header, note_name, sizeof note_name) != 0 ||
        header.n_type != HF_PLUGIN_NOTE_TYPE)
        return hf_error_set(error, HF_ENOTFOUND, "'%s' has a note that is not Holdfast's: it is not a plugin", path);
    if (header.n_descsz > note.size - content_at)
        return damaged(path, error);
    if (header.n_descsz > HF_PLUGIN_NOTE_SIZE_MAX)
        return hf_error_set(error, HF_ETOOLARGE, "'%s' has a manifest of %u bytes, at most %d are allowed", path,
                            header.n_descsz, HF_PLUGIN_NOTE_SIZE_MAX);
    *ret_json = (hf_slice){note.data + content_at, header.n_descsz};
    return 0;
}

int32_t hf_plugin_note_find(hf_slice file, const char *path, hf_slice *ret_json, hf_error *error)
{
    Elf64_Ehdr header;
    Elf64_Shdr names, section;

    int32_t result = read_header(file, path, &header, error);
    if (result)
        return result;
    if (read_section(file, &header, header.e_shstrndx, &names))
        return damaged(path, error);
    for (uint64_t i = 0; i < header.e_shnum; i++) {
        if (read_section(file, &header, i, &section))
            return damaged(path, error);
        if (!has_name(file, &names, &section))
            continue;
        const uint8_t *bytes = inside(file, section.sh_offset, section.sh_size);
        if (!bytes)
            return damaged(path, error);
        return read_note((hf_slice){bytes, section.sh_size}, path, ret_json, error);
    }
    return hf_error_set(error, HF_ENOTFOUND,
                        "'%s' has no manifest (section %s): it is not a Holdfast plugin, or was not built with "
                        "holdfast_add_plugin",
                        path, section_name);
}

static int32_t copy_note(int fd, const char *path, char **ret_json, hf_error *error)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot read plugin '%s'", path);
    if (!S_ISREG(status.st_mode) || status.st_size == 0)
        return hf_error_set(error, HF_EINVAL, "'%s' is not an ELF file, expected a plugin's shared object", path);

    uint64_t size = (uint64_t)status.st_size;
    void *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED)
        return hf_error_set_errno(error, HF_EIO, errno, "cannot read plugin '%s'", path);

    hf_slice json;
    int32_t result = hf_plugin_note_find((hf_slice){bytes, size}, path, &json, error);
    if (!result) {
        *ret_json = malloc(json.size + 1);
        if (*ret_json) {
            memcpy(*ret_json, json.data, json.size);
            (*ret_json)[json.size] = '\0';
        } else {
            result = hf_error_set(error, HF_ENOMEM, "no memory for the manifest of '%s'", path);
        }
    }
    (void)munmap(bytes, size);
    return result;
}

int32_t hf_plugin_note_read(const char *path, char **ret_json, hf_error *error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return hf_error_set_errno(error, errno == ENOENT ? HF_ENOTFOUND : HF_EIO, errno, "cannot open plugin '%s'",
                                  path);
    int32_t result = copy_note(fd, path, ret_json, error);
    (void)close(fd); /* it was only read */
    return result;
}
