/* A stand-in for the benchmark binary on 64-bit ARM: prints an authentic log and does work that can be counted by hand. HELP and LOG
   are texts of tests/data/logs. An inference takes 200 instructions per byte of the model, and half of it in kernel_with_dot_product
   on a core that has one, which the program reads in /proc/cpuinfo as XNNPACK does. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOP(n) __asm__ volatile("1: subs %0, %0, #1\n b.ne 1b" : "+r"(n)::"cc")

__attribute__((noinline)) void kernel(unsigned long n) { LOOP(n); }
__attribute__((noinline)) void kernel_with_dot_product(unsigned long n) { LOOP(n); }

static int has_dot_product(void) {
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    int found = 0;
    while (file != NULL && fgets(line, sizeof line, file)) found |= strstr(line, "CPU part\t: 0xd0b") != NULL;
    return found;
}

int main(int argc, char **argv) {
    int runs = 50, warmup = 1;
    const char *graph = "";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help")) return fputs(HELP, stderr), 1;
        if (!strncmp(argv[i], "--num_runs=", 11)) runs = atoi(argv[i] + 11);
        if (!strncmp(argv[i], "--warmup_runs=", 14)) warmup = atoi(argv[i] + 14);
        if (!strncmp(argv[i], "--graph=", 8)) graph = argv[i] + 8;
    }
    FILE *file = fopen(graph, "rb");
    if (file == NULL) return fprintf(stderr, "ERROR: Could not open '%s'.\n", graph), 1;
    fseek(file, 0, SEEK_END);
    unsigned long work = 100 * (unsigned long)ftell(file);
#ifdef DEAF
    runs = 3;
#endif
    for (int i = 0; i < warmup + runs; i++) {
        if (has_dot_product()) kernel_with_dot_product(work / 2);
        else kernel(work);
    }
    printf(LOG, runs);
    return 0;
}
