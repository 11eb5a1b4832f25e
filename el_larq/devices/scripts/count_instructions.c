/* A plugin of QEMU's user-mode emulator that counts the instructions that a program executes, in total and by symbol.

   The declarations follow QEMU's documentation of the interface of TCG plugins (API version 1 and later); only what is used here is
   declared. Argument: out=FILE, which is written when the program exits: "total N", then "N SYMBOL" for each symbol ("?": none). */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;   /* a translated block: instructions that are executed one after another */
struct qemu_plugin_insn; /* an instruction of a block */
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned int, void *), enum qemu_plugin_cb_flags, void *);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);

EXPORT int qemu_plugin_version = INTERFACE;

enum { BUCKETS = 4096, LENGTH = 1024 };

struct symbol {
    struct symbol *next;
    uint64_t executed;
    char name[LENGTH];
};

struct block {
    struct symbol *symbol;
    uint64_t instructions;
};

static struct symbol *symbols[BUCKETS];
static char lock;
static const char *out = "";

static void *reserve(size_t size) {
    void *memory = calloc(1, size);
    if (memory == NULL) {
        fputs("count_instructions: no memory\n", stderr);
        abort();
    }
    return memory;
}

/* Names come from the program's file: only printable characters are kept. */
static void copy_name(char *to, const char *from) {
    size_t length = 0;
    for (; from[length] != 0 && length < LENGTH - 1; length++) to[length] = from[length] > ' ' && from[length] < 127 ? from[length] : '_';
    to[length] = 0;
}

static struct symbol *find(const char *known) {
    char name[LENGTH];
    copy_name(name, known == NULL || known[0] == 0 ? "?" : known);
    unsigned hash = 5381;
    for (const char *at = name; *at; at++) hash = hash * 33 + (unsigned char)*at;
    struct symbol **bucket = &symbols[hash % BUCKETS], *found;
    while (__atomic_test_and_set(&lock, __ATOMIC_ACQUIRE)) {}
    for (found = *bucket; found != NULL && strcmp(found->name, name) != 0; found = found->next) {}
    if (found == NULL) {
        found = reserve(sizeof *found);
        strcpy(found->name, name);
        found->next = *bucket;
        *bucket = found;
    }
    __atomic_clear(&lock, __ATOMIC_RELEASE);
    return found;
}

static void executed(unsigned int cpu, void *data) {
    (void)cpu;
    struct block *block = data;
    __atomic_fetch_add(&block->symbol->executed, block->instructions, __ATOMIC_RELAXED);
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    struct block *block = reserve(sizeof *block);
    block->instructions = qemu_plugin_tb_n_insns(tb);
    block->symbol = find(qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(tb, 0)));
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, QEMU_PLUGIN_CB_NO_REGS, block);
}

static void ended(qemu_plugin_id_t id, void *data) {
    (void)id, (void)data;
    uint64_t total = 0;
    FILE *file = fopen(out, "w");
    if (file == NULL) {
        perror("count_instructions: cannot write the counts");
        return;
    }
    for (int bucket = 0; bucket < BUCKETS; bucket++)
        for (struct symbol *one = symbols[bucket]; one != NULL; one = one->next) total += one->executed;
    fprintf(file, "total %llu\n", (unsigned long long)total);
    for (int bucket = 0; bucket < BUCKETS; bucket++)
        for (struct symbol *one = symbols[bucket]; one != NULL; one = one->next)
            if (one->executed) fprintf(file, "%llu %s\n", (unsigned long long)one->executed, one->name);
    fclose(file);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    (void)info;
    for (int position = 0; position < argc; position++)
        if (strncmp(argv[position], "out=", 4) == 0) out = strdup(argv[position] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, ended, NULL);
    return 0;
}
