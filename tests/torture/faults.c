/* Faults at the n-th file operation or large allocation of a process: preload this library, then arm it.
 *
 * Only files below one folder count. Either call fault_arm(), or set RELSQL_FAULT, RELSQL_FAULT_AT and
 * RELSQL_FAULT_FOLDER before the process starts. What is counted, and the faults, are listed in faults.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum counter { CHANGES, WRITES, SYNCS, READS, ALLOCATIONS, COUNTERS };
enum fault { NONE, KILL, TORN, FULL, BROKEN, SYNC, READ, SHORT, MEMORY, READ_ONLY_DISK, READ_ONLY_FOLDER };
enum operation { WRITE, GROW, CREATE, RENAME, REMOVE, FLUSH };

/* What becomes of an operation: it happens, half of it does (and then the process is killed, or not), or it fails. */
enum { HAPPENS = 0, HALF_KILLED = -1, HALF = -2 };

#define LARGE_BYTES (64 * 1024)
#define NEXT(name) ((typeof(&name))dlsym(RTLD_NEXT, #name))

static volatile int armed = 0;
static volatile enum fault fault = NONE;
static volatile long at = 0;
static volatile long counts[COUNTERS];
static char folder[PATH_MAX];

void fault_arm(int which, long n, const char *below) {
    armed = 0;
    memset((void *)counts, 0, sizeof counts);
    snprintf(folder, sizeof folder, "%s", below);
    fault = which;
    at = n;
    armed = 1;
}

void fault_disarm(void) { armed = 0; }

long fault_count(int counter) { return counts[counter]; }

__attribute__((constructor)) static void arm_from_environment(void) {
    const char *which = getenv("RELSQL_FAULT"), *n = getenv("RELSQL_FAULT_AT"), *below = getenv("RELSQL_FAULT_FOLDER");
    if (which && n && below) fault_arm(atoi(which), atol(n), below);
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

static int counts_path(const char *path) { return armed && path && !strncmp(path, folder, strlen(folder)); }

static int counts_file(int fd) {
    char link[64], path[PATH_MAX];
    if (!armed) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return counts_path(path);
}

static long counted(enum counter counter) { return __sync_add_and_fetch(&counts[counter], 1); }

/* Why a path cannot be changed, or opened for that, whatever has been counted: 0 if it can. */
static int refused(const char *path, int is_open) {
    if (!counts_path(path)) return 0;
    if (fault == READ_ONLY_DISK) return EROFS;
    /* A file in the folder can be opened but not removed; one that is not there cannot be made, or is not found. */
    int exists = !access(path, F_OK);
    return fault == READ_ONLY_FOLDER && is_open != exists ? EACCES : 0;
}

/* Count an operation that changes files, and say what becomes of it: HAPPENS, HALF.., or the errno it fails with. */
static int meet(enum operation operation) {
    long change = counted(CHANGES);
    long write = operation == WRITE ? counted(WRITES) : 0;
    long sync = operation == FLUSH ? counted(SYNCS) : 0;
    switch (fault) {
    case KILL: if (change == at) die(); return HAPPENS;
    case TORN: return write == at ? HALF_KILLED : HAPPENS;
    case SHORT: return write == at ? HALF : HAPPENS;
    case FULL: return change >= at && (operation == WRITE || operation == GROW || operation == CREATE) ? ENOSPC : HAPPENS;
    case BROKEN: return change == at ? EIO : HAPPENS;
    case SYNC: return sync && sync == at ? EIO : HAPPENS;
    default: return HAPPENS;
    }
}

static int failed(int reason) {
    errno = reason;
    return -1;
}

#define WRITING(fd, bytes, call, half)                                                                                 \
    if (counts_file(fd)) {                                                                                             \
        int fate = meet(WRITE);                                                                                        \
        if (fate > 0) return failed(fate);                                                                             \
        if (fate != HAPPENS && bytes > 1) {                                                                            \
            ssize_t done = half;                                                                                       \
            if (fate == HALF_KILLED) die();                                                                            \
            return done;                                                                                               \
        }                                                                                                              \
        if (fate == HALF_KILLED) die();                                                                                \
    }                                                                                                                  \
    return call

ssize_t pwrite64(int fd, const void *from, size_t bytes, off_t offset) {
    static typeof(&pwrite64) real;
    if (!real) real = NEXT(pwrite64);
    WRITING(fd, bytes, real(fd, from, bytes, offset), real(fd, from, bytes / 2, offset));
}

ssize_t pwrite(int fd, const void *from, size_t bytes, off_t offset) { return pwrite64(fd, from, bytes, offset); }

ssize_t write(int fd, const void *from, size_t bytes) {
    static typeof(&write) real;
    if (!real) real = NEXT(write);
    WRITING(fd, bytes, real(fd, from, bytes), real(fd, from, bytes / 2));
}

static int reading_fails(int fd) { return counts_file(fd) && counted(READS) == at && fault == READ; }

ssize_t pread64(int fd, void *to, size_t bytes, off_t offset) {
    static typeof(&pread64) real;
    if (!real) real = NEXT(pread64);
    return reading_fails(fd) ? failed(EIO) : real(fd, to, bytes, offset);
}

ssize_t pread(int fd, void *to, size_t bytes, off_t offset) { return pread64(fd, to, bytes, offset); }

ssize_t read(int fd, void *to, size_t bytes) {
    static typeof(&read) real;
    if (!real) real = NEXT(read);
    return reading_fails(fd) ? failed(EIO) : real(fd, to, bytes);
}

/* The rest takes a file or a path, and happens whole or not at all. */
#define REFUSED(path, is_open)                                                                                         \
    if (refused(path, is_open)) return failed(refused(path, is_open))

#define WHOLE(name, is_counted, operation, ...)                                                                        \
    static typeof(&name) real;                                                                                         \
    if (!real) real = NEXT(name);                                                                                      \
    if (is_counted) {                                                                                                  \
        int fate = meet(operation);                                                                                    \
        if (fate > 0) return failed(fate);                                                                             \
    }                                                                                                                  \
    return real(__VA_ARGS__)

int fsync(int fd) { WHOLE(fsync, counts_file(fd), FLUSH, fd); }
int fdatasync(int fd) { WHOLE(fdatasync, counts_file(fd), FLUSH, fd); }
int ftruncate64(int fd, off_t bytes) { WHOLE(ftruncate64, counts_file(fd), GROW, fd, bytes); }
int ftruncate(int fd, off_t bytes) { return ftruncate64(fd, bytes); }
int fallocate64(int fd, int mode, off_t offset, off_t bytes) {
    WHOLE(fallocate64, counts_file(fd), GROW, fd, mode, offset, bytes);
}
int fallocate(int fd, int mode, off_t offset, off_t bytes) { return fallocate64(fd, mode, offset, bytes); }
int unlink(const char *path) {
    REFUSED(path, 0);
    WHOLE(unlink, counts_path(path), REMOVE, path);
}
int remove(const char *path) {
    REFUSED(path, 0);
    WHOLE(remove, counts_path(path), REMOVE, path);
}
int rename(const char *from, const char *to) {
    REFUSED(from, 0);
    WHOLE(rename, counts_path(from) || counts_path(to), RENAME, from, to);
}
int mkdir(const char *path, mode_t mode) {
    REFUSED(path, 1);
    WHOLE(mkdir, counts_path(path), CREATE, path, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (flags & (O_WRONLY | O_RDWR | O_CREAT)) REFUSED(path, 1);
    WHOLE(open64, flags & O_CREAT && counts_path(path), CREATE, path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open64(path, flags, mode);
}

/* Large allocations fail wherever they are made: by Python, DuckDB, Arrow, onnxruntime or torch. */
static int allocation_fails(size_t bytes) {
    return armed && bytes >= LARGE_BYTES && counted(ALLOCATIONS) == at && fault == MEMORY;
}

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static void *no_memory(void) {
    errno = ENOMEM;
    return NULL;
}

void *malloc(size_t bytes) { return allocation_fails(bytes) ? no_memory() : __libc_malloc(bytes); }
void *calloc(size_t n, size_t bytes) { return allocation_fails(n * bytes) ? no_memory() : __libc_calloc(n, bytes); }
void *realloc(void *old, size_t bytes) { return allocation_fails(bytes) ? no_memory() : __libc_realloc(old, bytes); }
void *memalign(size_t alignment, size_t bytes) {
    return allocation_fails(bytes) ? no_memory() : __libc_memalign(alignment, bytes);
}
void *aligned_alloc(size_t alignment, size_t bytes) { return memalign(alignment, bytes); }

int posix_memalign(void **to, size_t alignment, size_t bytes) {
    if (allocation_fails(bytes)) return ENOMEM;
    *to = __libc_memalign(alignment, bytes);
    return *to ? 0 : ENOMEM;
}

void *mmap64(void *where, size_t bytes, int protection, int flags, int fd, off_t offset) {
    if (flags & MAP_ANONYMOUS && allocation_fails(bytes)) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, where, bytes, protection, flags, fd, offset);
}

void *mmap(void *where, size_t bytes, int protection, int flags, int fd, off_t offset) {
    return mmap64(where, bytes, protection, flags, fd, offset);
}
