/* Plimsoll's edge for C. Made from edge/ffi/src by edge/ffi/tests/header.rs: edit it there. */

#ifndef PLIMSOLL_H
#define PLIMSOLL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Of this header; compare with plimsoll_abi(). */
#define PLIMSOLL_ABI 1

/**
 * How a call went.
 */
typedef enum {
  /**
   * Done; the answer is the result.
   */
  PLIMSOLL_STATUS_OK = 0,
  /**
   * A pointer is null, a text is not UTF-8, a request is not the JSON that is asked for: the caller's mistake.
   */
  PLIMSOLL_STATUS_BAD_ARGUMENT = 1,
  /**
   * The release, or what it is asked about, is refused; what the caller had before still holds.
   */
  PLIMSOLL_STATUS_REFUSED = 2,
  /**
   * A bug in the library. Throw the handles of this call away.
   */
  PLIMSOLL_STATUS_PANICKED = 3,
} PlimsollStatus;

/**
 * Files by path. Nothing in it is believed before `plimsoll_open` has verified it.
 */
typedef struct PlimsollBundle PlimsollBundle;

/**
 * A payer's device. Used by one thread at a time.
 */
typedef struct PlimsollDevice PlimsollDevice;

/**
 * A model whose signatures were verified and whose golden vectors passed.
 */
typedef struct PlimsollEvaluator PlimsollEvaluator;

/**
 * Bytes that the library made and the caller gives back to `plimsoll_bytes_free`. Not terminated by a zero.
 */
typedef struct {
  /**
   * The first byte; null when there are none.
   */
  uint8_t *data;
  /**
   * How many.
   */
  size_t len;
} PlimsollBytes;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The ABI version of the library that was linked; compare with `PLIMSOLL_ABI` of the header.
 */
uint32_t plimsoll_abi(void);

/**
 * Frees bytes that the library made, and sets them to none. Null and no bytes are fine.
 *
 * # Safety
 * `bytes` is null or points to bytes that this library set and that were not freed through another copy.
 */
void plimsoll_bytes_free(PlimsollBytes *bytes);

/**
 * Makes room for `len` bytes, aligned for any struct of this library, for callers without an allocator of their own in
 * this memory (WebAssembly). Given back by `plimsoll_dealloc`. Null when `len` is 0 or there is no room.
 */
uint8_t *plimsoll_alloc(size_t len);

/**
 * Frees room that `plimsoll_alloc` made. Null is fine.
 *
 * # Safety
 * `room` is null or from `plimsoll_alloc(len)` with the same `len`, and is freed once.
 */
void plimsoll_dealloc(uint8_t *room, size_t len);

/**
 * An empty bundle, to be given back to `plimsoll_bundle_free`.
 */
PlimsollBundle *plimsoll_bundle_new(void);

/**
 * Puts a copy of a file into a bundle; one of the same path is replaced.
 *
 * `path`: in the repository, such as `metadata/timestamp.json`; UTF-8. The answer is no bytes.
 *
 * # Safety
 * `bundle` is null or from `plimsoll_bundle_new` and not freed; `path` and `data` are readable for their lengths;
 * `answer` is null or writable.
 */
PlimsollStatus plimsoll_bundle_add(PlimsollBundle *bundle,
                                   const uint8_t *path,
                                   size_t path_len,
                                   const uint8_t *data,
                                   size_t data_len,
                                   PlimsollBytes *answer);

/**
 * Frees a bundle. Null is fine. Evaluators that were opened from it stay.
 *
 * # Safety
 * `bundle` is null or from `plimsoll_bundle_new`, and is freed once.
 */
void plimsoll_bundle_free(PlimsollBundle *bundle);

/**
 * Verifies the release in a bundle, checks it against this engine, and runs its golden vectors.
 *
 * `root`: the pinned root, the bytes of its file. `terms`: JSON, `{"now": UTC seconds}`, and if wanted `"floors"` (as
 * the last answer said) and `"model_id"`. On `PLIMSOLL_STATUS_OK`, `evaluator` is set, to be given back to
 * `plimsoll_evaluator_free`, and the answer says what was opened; otherwise `evaluator` is set to null.
 *
 * # Safety
 * `bundle` is null or from `plimsoll_bundle_new` and not freed; `root` and `terms` are readable for their lengths;
 * `evaluator` and `answer` are null or writable.
 */
PlimsollStatus plimsoll_open(const PlimsollBundle *bundle,
                             const uint8_t *root,
                             size_t root_len,
                             const uint8_t *terms,
                             size_t terms_len,
                             PlimsollEvaluator **evaluator,
                             PlimsollBytes *answer);

/**
 * What an account may spend offline: `question` and answer are JSON, see `plimsoll_edge::wire`.
 *
 * # Safety
 * `evaluator` is null or from `plimsoll_open` and not freed; `question` is readable for its length; `answer` is null
 * or writable.
 */
PlimsollStatus plimsoll_evaluate(const PlimsollEvaluator *evaluator,
                                 const uint8_t *question,
                                 size_t question_len,
                                 PlimsollBytes *answer);

/**
 * Frees an evaluator. Null is fine.
 *
 * # Safety
 * `evaluator` is null or from `plimsoll_open`, and is freed once.
 */
void plimsoll_evaluator_free(PlimsollEvaluator *evaluator);

/**
 * Opens the device whose state the setup names, or begins a new one.
 *
 * `setup`: JSON, see `plimsoll_edge::wire::Setup`. On `PLIMSOLL_STATUS_OK`, `device` is set, to be given back to
 * `plimsoll_device_free`, and the answer is no bytes; otherwise `device` is set to null.
 *
 * # Safety
 * `setup` is readable for its length; `device` and `answer` are null or writable.
 */
PlimsollStatus plimsoll_device_open(const uint8_t *setup,
                                    size_t setup_len,
                                    PlimsollDevice **device,
                                    PlimsollBytes *answer);

/**
 * Verifies the newest release in a bundle and installs it, if it is newer than what runs.
 *
 * `terms`: JSON, `{"now": UTC seconds}`. The answer is `{"model_version": …, "new": …}`.
 *
 * # Safety
 * `device` is null or from `plimsoll_device_open` and not freed, and used by nobody else now; `bundle` is null or from
 * `plimsoll_bundle_new` and not freed; `terms` is readable for its length; `answer` is null or writable.
 */
PlimsollStatus plimsoll_device_install(PlimsollDevice *device,
                                       const PlimsollBundle *bundle,
                                       const uint8_t *terms,
                                       size_t terms_len,
                                       PlimsollBytes *answer);

/**
 * Does what it is told: `command` and answer are JSON, `{"limit": {"now": …}}`; see `plimsoll_edge::wire::Command`.
 *
 * # Safety
 * `device` is null or from `plimsoll_device_open` and not freed, and used by nobody else now; `command` is readable
 * for its length; `answer` is null or writable.
 */
PlimsollStatus plimsoll_device_command(PlimsollDevice *device,
                                       const uint8_t *command,
                                       size_t command_len,
                                       PlimsollBytes *answer);

/**
 * Frees a device. Null is fine. Its state stays where it is kept.
 *
 * # Safety
 * `device` is null or from `plimsoll_device_open`, and is freed once.
 */
void plimsoll_device_free(PlimsollDevice *device);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PLIMSOLL_H */
