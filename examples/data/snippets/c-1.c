#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    long total = 0;
    for (int i = 1; i < argc; i++) {
        char *end = NULL;
        total += strtol(argv[i], &end, 10);
        if (*end != '\0') {
            fprintf(stderr, "not a number: %s\n", argv[i]);
            return EXIT_FAILURE;
        }
    }
    printf("%ld\n", total);
    return EXIT_SUCCESS;
}
