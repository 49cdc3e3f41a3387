/* The `holdfast` program. */
#include "cli/cli.h"

#include <curl/curl.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    cli_run context = {0};
    int result;

    hf_arena_init(&context.arena, UINT64_MAX);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    result = cli_parse(&context, argc, argv);
    if (result == CLI_OK && context.command)
        result = context.command->run(&context);
    if (fflush(stdout) != 0 && result == CLI_OK) {
        fprintf(stderr, "holdfast: the output could not be written\n");
        result = CLI_FAILED;
    }
    hf_arena_done(&context.arena);
    curl_global_cleanup();
    return result;
}
