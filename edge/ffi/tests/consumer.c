/*
 * A C program that uses the library as an app would: reads a published repository from a directory, has it verified,
 * asks what accounts may spend, prints what it was told, and checks what must be refused.
 *
 *   consumer evaluate REPOSITORY ROOT NOW QUESTION…
 *   consumer device REPOSITORIES SETUP STEPS
 *
 * The first prints what was opened and one answer a line for each question; the second lives a device's life, one answer a
 * line for each step. tests/consumer.rs compares the lines with Rust's.
 */
#define _XOPEN_SOURCE 700
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../plimsoll.h"

#define THREADS 4
#define FILES_MAX 64

#define CHECK(what)                                                              \
    do {                                                                         \
        if (!(what)) {                                                           \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #what); \
            exit(1);                                                             \
        }                                                                        \
    } while (0)

typedef struct {
    char *path;
    uint8_t *data;
    size_t len;
} File;

static File files[FILES_MAX];
static size_t file_count;
static size_t prefix_len;

static File read_file(const char *path) {
    FILE *stream = fopen(path, "rb");
    CHECK(stream != NULL);
    CHECK(fseek(stream, 0, SEEK_END) == 0);
    const long len = ftell(stream);
    CHECK(len >= 0);
    rewind(stream);
    File file = {strdup(path), malloc((size_t)len + 1), (size_t)len};
    CHECK(file.path != NULL && file.data != NULL);
    CHECK(fread(file.data, 1, file.len, stream) == file.len);
    CHECK(fclose(stream) == 0);
    return file;
}

static int visit(const char *path, const struct stat *stat, int kind, struct FTW *place) {
    (void)stat;
    (void)place;
    if (kind == FTW_F) {
        CHECK(file_count < FILES_MAX);
        files[file_count++] = read_file(path);
    }
    return 0;
}

static void read_repository(const char *path) {
    prefix_len = strlen(path) + 1;
    CHECK(nftw(path, visit, 8, FTW_PHYS) == 0);
    CHECK(file_count > 0);
}

static void forget_repository(void) {
    for (size_t i = 0; i < file_count; i++) {
        free(files[i].path);
        free(files[i].data);
    }
    file_count = 0;
}

static const char *in_repository(const File *file) { return file->path + prefix_len; }

/* A bundle of all files; of file `flipped`, with the lowest bit of its middle byte changed. */
static PlimsollBundle *bundle_of(size_t flipped) {
    PlimsollBundle *bundle = plimsoll_bundle_new();
    for (size_t i = 0; i < file_count; i++) {
        const char *path = in_repository(&files[i]);
        PlimsollBytes answer;
        files[i].data[files[i].len / 2] ^= i == flipped;
        CHECK(plimsoll_bundle_add(bundle, (const uint8_t *)path, strlen(path), files[i].data, files[i].len, &answer)
              == PLIMSOLL_STATUS_OK);
        files[i].data[files[i].len / 2] ^= i == flipped;
        CHECK(answer.data == NULL && answer.len == 0);
    }
    return bundle;
}

static PlimsollStatus open_bundle(const PlimsollBundle *bundle, const File *root, const char *terms,
                                  PlimsollEvaluator **evaluator, PlimsollBytes *answer) {
    return plimsoll_open(bundle, root->data, root->len, (const uint8_t *)terms, strlen(terms), evaluator, answer);
}

static int says(const PlimsollBytes *answer, const char *text) {
    const size_t len = strlen(text);
    for (size_t at = 0; at + len <= answer->len; at++) {
        if (memcmp(answer->data + at, text, len) == 0) return 1;
    }
    return 0;
}

typedef struct {
    const PlimsollEvaluator *evaluator;
    const File *question;
    PlimsollBytes answer;
    PlimsollStatus status;
} Asked;

static void *ask(void *argument) {
    Asked *asked = argument;
    asked->status =
        plimsoll_evaluate(asked->evaluator, asked->question->data, asked->question->len, &asked->answer);
    return NULL;
}

/* The same question from several threads: one answer. */
static void answer_question(const PlimsollEvaluator *evaluator, const char *path) {
    File question = read_file(path);
    Asked asked[THREADS];
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        asked[i] = (Asked){evaluator, &question, {NULL, 0}, PLIMSOLL_STATUS_PANICKED};
        CHECK(pthread_create(&threads[i], NULL, ask, &asked[i]) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(asked[i].status == PLIMSOLL_STATUS_OK);
        CHECK(asked[i].answer.len == asked[0].answer.len);
        CHECK(memcmp(asked[i].answer.data, asked[0].answer.data, asked[0].answer.len) == 0);
    }
    printf("%.*s\n", (int)asked[0].answer.len, (const char *)asked[0].answer.data);
    for (size_t i = 0; i < THREADS; i++) plimsoll_bytes_free(&asked[i].answer);
    free(question.path);
    free(question.data);
}

static void refuses_every_flipped_byte(const File *root, const char *terms) {
    for (size_t i = 0; i < file_count; i++) {
        PlimsollBundle *bundle = bundle_of(i);
        PlimsollEvaluator *evaluator = (PlimsollEvaluator *)root; /* must be set to null */
        PlimsollBytes answer;
        CHECK(open_bundle(bundle, root, terms, &evaluator, &answer) == PLIMSOLL_STATUS_REFUSED);
        CHECK(evaluator == NULL);
        CHECK(says(&answer, "\"code\":") && says(&answer, "\"message\":"));
        fprintf(stderr, "%s: %.*s\n", in_repository(&files[i]), (int)answer.len, (const char *)answer.data);
        plimsoll_bytes_free(&answer);
        plimsoll_bundle_free(bundle);
    }
}

static void survives_the_callers_mistakes(const PlimsollBundle *bundle, const PlimsollEvaluator *good,
                                          const File *root, const char *terms) {
    PlimsollEvaluator *evaluator = NULL;
    PlimsollBytes answer;
    const uint8_t *const bytes = (const uint8_t *)terms;
    const uint8_t not_utf8[] = {0xff, 0xfe};
#define BAD(call)                                       \
    do {                                                \
        CHECK((call) == PLIMSOLL_STATUS_BAD_ARGUMENT);  \
        CHECK(says(&answer, "\"code\":\"request\""));   \
        plimsoll_bytes_free(&answer);                   \
    } while (0)
    BAD(open_bundle(NULL, root, terms, &evaluator, &answer));
    BAD(plimsoll_open(bundle, NULL, 9, bytes, strlen(terms), &evaluator, &answer));
    BAD(plimsoll_open(bundle, root->data, root->len, NULL, 9, &evaluator, &answer));
    BAD(plimsoll_open(bundle, root->data, SIZE_MAX, bytes, strlen(terms), &evaluator, &answer));
    BAD(open_bundle(bundle, root, terms, NULL, &answer));
    BAD(open_bundle(bundle, root, "{}", &evaluator, &answer));
    BAD(open_bundle(bundle, root, "{\"now\":9223372036854775807}", &evaluator, &answer));
    BAD(open_bundle(bundle, root, "{\"now\":0,\"nwo\":1}", &evaluator, &answer));
    BAD(plimsoll_evaluate(NULL, bytes, strlen(terms), &answer));
    BAD(plimsoll_evaluate(good, NULL, 1, &answer));
    BAD(plimsoll_evaluate(good, NULL, 0, &answer));
    BAD(plimsoll_evaluate(good, not_utf8, sizeof not_utf8, &answer));
    BAD(plimsoll_bundle_add(NULL, bytes, 1, bytes, 1, &answer));
    BAD(plimsoll_bundle_add((PlimsollBundle *)bundle, NULL, 1, bytes, 1, &answer));
    BAD(plimsoll_bundle_add((PlimsollBundle *)bundle, not_utf8, sizeof not_utf8, bytes, 1, &answer));
    BAD(plimsoll_bundle_add((PlimsollBundle *)bundle, bytes, 1, NULL, 1, &answer));
#undef BAD
    CHECK(open_bundle(bundle, root, terms, &evaluator, NULL) == PLIMSOLL_STATUS_BAD_ARGUMENT && evaluator == NULL);
    CHECK(plimsoll_evaluate(good, bytes, 1, NULL) == PLIMSOLL_STATUS_BAD_ARGUMENT);

    /* Another root than the repository's own: bytes that are no root. */
    CHECK(plimsoll_open(bundle, bytes, strlen(terms), bytes, strlen(terms), &evaluator, &answer)
          == PLIMSOLL_STATUS_REFUSED);
    CHECK(evaluator == NULL);
    plimsoll_bytes_free(&answer);
    plimsoll_bytes_free(&answer); /* none any more */
    plimsoll_bytes_free(NULL);
    plimsoll_bundle_free(NULL);
    plimsoll_evaluator_free(NULL);

    /* An empty bundle, and a clock after every expiry. */
    PlimsollBundle *empty = plimsoll_bundle_new();
    CHECK(open_bundle(empty, root, terms, &evaluator, &answer) == PLIMSOLL_STATUS_REFUSED);
    CHECK(says(&answer, "\"code\":\"missing\""));
    plimsoll_bytes_free(&answer);
    plimsoll_bundle_free(empty);
    CHECK(open_bundle(bundle, root, "{\"now\":4000000000}", &evaluator, &answer) == PLIMSOLL_STATUS_REFUSED);
    CHECK(says(&answer, "\"code\":\"expired\""));
    plimsoll_bytes_free(&answer);
}

static void evaluate(int argc, char **argv) {
    CHECK(argc > 3);
    read_repository(argv[0]);
    File root = read_file(argv[1]);
    char terms[64];
    CHECK(snprintf(terms, sizeof terms, "{\"now\":%" PRId64 "}", (int64_t)strtoll(argv[2], NULL, 10)) > 0);

    PlimsollBundle *bundle = bundle_of(SIZE_MAX);
    PlimsollEvaluator *evaluator = NULL;
    PlimsollBytes opened;
    CHECK(open_bundle(bundle, &root, terms, &evaluator, &opened) == PLIMSOLL_STATUS_OK);
    CHECK(evaluator != NULL && says(&opened, "\"certificate\""));
    survives_the_callers_mistakes(bundle, evaluator, &root, terms);
    plimsoll_bundle_free(bundle); /* the evaluator stays */

    printf("%.*s\n", (int)opened.len, (const char *)opened.data);
    plimsoll_bytes_free(&opened);
    for (int i = 3; i < argc; i++) answer_question(evaluator, argv[i]);
    plimsoll_evaluator_free(evaluator);

    refuses_every_flipped_byte(&root, terms);
    forget_repository();
    free(root.path);
    free(root.data);
}

/* One step is a line: `first {"now":…}` installs that repository, ` {"limit":…}` is a command. */
static void take_step(PlimsollDevice *device, const char *repositories, char *line) {
    char *json = strchr(line, ' ');
    CHECK(json != NULL);
    *json++ = '\0';
    PlimsollBytes answer;
    PlimsollStatus status;
    if (line[0] == '\0') {
        status = plimsoll_device_command(device, (const uint8_t *)json, strlen(json), &answer);
    } else {
        char path[4096];
        CHECK((size_t)snprintf(path, sizeof path, "%s/%s", repositories, line) < sizeof path);
        read_repository(path);
        PlimsollBundle *bundle = bundle_of(SIZE_MAX);
        status = plimsoll_device_install(device, bundle, (const uint8_t *)json, strlen(json), &answer);
        plimsoll_bundle_free(bundle);
        forget_repository();
    }
    CHECK(status != PLIMSOLL_STATUS_PANICKED);
    printf("%d %.*s\n", (int)status, (int)answer.len, (const char *)answer.data);
    plimsoll_bytes_free(&answer);
}

static void live(int argc, char **argv) {
    CHECK(argc == 3);
    File setup = read_file(argv[1]);
    PlimsollDevice *device = NULL;
    PlimsollBytes answer;
    CHECK(plimsoll_device_open(setup.data, setup.len, &device, &answer) == PLIMSOLL_STATUS_OK && device != NULL);
    CHECK(answer.len == 0);

    /* The directory is in use: a second device over the same state would spend it twice. */
    PlimsollDevice *second = NULL;
    CHECK(plimsoll_device_open(setup.data, setup.len, &second, &answer) == PLIMSOLL_STATUS_REFUSED && second == NULL);
    CHECK(says(&answer, "in use"));
    plimsoll_bytes_free(&answer);
    CHECK(plimsoll_device_open(setup.data, setup.len, NULL, &answer) == PLIMSOLL_STATUS_BAD_ARGUMENT);
    plimsoll_bytes_free(&answer);
    CHECK(plimsoll_device_command(NULL, setup.data, setup.len, &answer) == PLIMSOLL_STATUS_BAD_ARGUMENT);
    plimsoll_bytes_free(&answer);
    CHECK(plimsoll_device_install(device, NULL, setup.data, setup.len, &answer) == PLIMSOLL_STATUS_BAD_ARGUMENT);
    plimsoll_bytes_free(&answer);

    File steps = read_file(argv[2]);
    steps.data[steps.len] = '\0';
    char *rest = NULL;
    for (char *line = strtok_r((char *)steps.data, "\n", &rest); line != NULL; line = strtok_r(NULL, "\n", &rest)) {
        take_step(device, argv[0], line);
    }
    plimsoll_device_free(device);
    plimsoll_device_free(NULL);
    free(steps.path);
    free(steps.data);
    free(setup.path);
    free(setup.data);
}

int main(int argc, char **argv) {
    CHECK(argc > 2);
    CHECK(plimsoll_abi() == PLIMSOLL_ABI);
    if (strcmp(argv[1], "evaluate") == 0) {
        evaluate(argc - 2, argv + 2);
    } else {
        CHECK(strcmp(argv[1], "device") == 0);
        live(argc - 2, argv + 2);
    }
    return 0;
}
