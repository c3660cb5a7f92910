// Interferes with what a process does to the files below a folder. It is preloaded into a command by
// file_faults.py, which has what it is for.
//
// FAULT_BELOW  the folder
// FAULT_AT     the operation at which it happens, from 1 on: creating or opening for writing, writing,
// moving,
//              removing, making a folder, cutting, syncing
// FAULT_DO     a signal's number, or 0: the disk is full from then on
// FAULT_TO     what gets the signal: "process", or "group" as a terminal has it
// FAULT_LOG    a file that gets a line for every operation, and "fault" where it happens
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_int seen;
static atomic_int full;

static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

static void tell(const char *what, const char *path)
{
    char line[4200];
    int size = snprintf(line, sizeof line, "%s %s\n", what, path);
    int log = REAL(open)(setting("FAULT_LOG"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (log < 0)
        return;
    if (REAL(write)(log, line, size) < 0)
        abort();
    close(log);
}

// What becomes of an operation: a full disk refuses those that need room; the write at which the disk gets
// full, or SIGKILL comes, is half done.
enum outcome { GOES_ON, REFUSED, HALF };

static void stop(int number)
{
    kill(strcmp(setting("FAULT_TO"), "group") == 0 ? 0 : getpid(), number);
}

static enum outcome at(const char *what, const char *path, int needs_room)
{
    const char *below = setting("FAULT_BELOW");
    size_t length = strlen(below);
    if (length == 0 || strncmp(path, below, length) != 0 || path[length] != '/')
        return GOES_ON;
    int number = atoi(setting("FAULT_DO"));
    int now = ++seen == atoi(setting("FAULT_AT"));
    tell(what, path);
    if (now)
        tell("fault", what);
    if (now && number == 0)
        full = 1;
    if (full && needs_room)
        return REFUSED;
    if (!now || number == 0)
        return GOES_ON;
    if (number == SIGKILL && strcmp(what, "write") == 0)
        return HALF;
    stop(number);
    return GOES_ON;
}

static enum outcome at_file(const char *what, int file, int needs_room)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return GOES_ON;
    path[length] = 0;
    return at(what, path, needs_room);
}

static enum outcome at_path(const char *what, int folder, const char *name, int needs_room)
{
    char link[64], path[8192] = "";
    if (name[0] != '/') {
        if (folder == AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, path, 4000);
        if (length < 0)
            return GOES_ON;
        path[length] = '/';
        path[length + 1] = 0;
    }
    strncat(path, name, 4000);
    return at(what, path, needs_room);
}

static int no_room(void)
{
    errno = ENOSPC;
    return -1;
}

// --- Opening: only for writing ---

static enum outcome opening(int folder, const char *name, int flags)
{
    if ((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_CREAT | O_TRUNC)))
        return GOES_ON;
    int there = REAL(faccessat)(folder, name, F_OK, 0) == 0;
    return at_path(there ? "open" : "create", folder, name, !there);
}

#define MODE(flags, mode)                                                                                    \
    mode_t mode = 0;                                                                                         \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                                                                   \
        va_list rest;                                                                                        \
        va_start(rest, flags);                                                                               \
        mode = va_arg(rest, mode_t);                                                                         \
        va_end(rest);                                                                                        \
    }

#define OPEN(name)                                                                                           \
    int name(const char *path, int flags, ...)                                                               \
    {                                                                                                        \
        MODE(flags, mode)                                                                                    \
        return opening(AT_FDCWD, path, flags) ? no_room() : REAL(name)(path, flags, mode);                   \
    }
#define OPENAT(name)                                                                                         \
    int name(int folder, const char *path, int flags, ...)                                                   \
    {                                                                                                        \
        MODE(flags, mode)                                                                                    \
        return opening(folder, path, flags) ? no_room() : REAL(name)(folder, path, flags, mode);             \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                                          \
    FILE *name(const char *path, const char *mode)                                                           \
    {                                                                                                        \
        int writes = strpbrk(mode, "wa+") != NULL;                                                           \
        if (writes && opening(AT_FDCWD, path, O_WRONLY)) {                                                   \
            errno = ENOSPC;                                                                                  \
            return NULL;                                                                                     \
        }                                                                                                    \
        return REAL(name)(path, mode);                                                                       \
    }
FOPEN(fopen)
FOPEN(fopen64)

// --- Writing ---

static enum outcome writing(int file, size_t *count)
{
    int before = full;
    enum outcome found = at_file("write", file, 1);
    if (found == HALF || (found == REFUSED && !before && *count > 1)) {
        *count /= 2;
        return HALF;
    }
    return found;
}

static void after_half(void)
{
    if (atoi(setting("FAULT_DO")))
        stop(SIGKILL);
}

ssize_t write(int file, const void *from, size_t count)
{
    enum outcome found = writing(file, &count);
    if (found == REFUSED)
        return no_room();
    ssize_t done = REAL(write)(file, from, count);
    if (found == HALF)
        after_half();
    return done;
}

#define PWRITE(name, type)                                                                                   \
    ssize_t name(int file, const void *from, size_t count, type to)                                          \
    {                                                                                                        \
        enum outcome found = writing(file, &count);                                                          \
        if (found == REFUSED)                                                                                \
            return no_room();                                                                                \
        ssize_t done = REAL(name)(file, from, count, to);                                                    \
        if (found == HALF)                                                                                   \
            after_half();                                                                                    \
        return done;                                                                                         \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

// --- All others ---

#define ON_FILE(name, what, room, parameters, arguments)                                                     \
    int name parameters                                                                                      \
    {                                                                                                        \
        return at_file(what, file, room) ? no_room() : REAL(name) arguments;                                 \
    }
#define ON_PATH(name, what, room, parameters, arguments)                                                     \
    int name parameters                                                                                      \
    {                                                                                                        \
        return at_path(what, folder, path, room) ? no_room() : REAL(name) arguments;                         \
    }

ON_FILE(fsync, "sync", 1, (int file), (file))
ON_FILE(fdatasync, "sync", 1, (int file), (file))
ON_FILE(ftruncate, "cut", 0, (int file, off_t size), (file, size))
ON_FILE(ftruncate64, "cut", 0, (int file, off64_t size), (file, size))
ON_FILE(fallocate, "write", 1, (int file, int mode, off_t from, off_t size), (file, mode, from, size))
ON_FILE(fallocate64, "write", 1, (int file, int mode, off64_t from, off64_t size), (file, mode, from, size))
ON_PATH(unlinkat, "remove", 0, (int folder, const char *path, int flags), (folder, path, flags))
ON_PATH(renameat, "move", 0, (int folder, const char *from, int to, const char *path),
        (folder, from, to, path))

#define HERE_ON_PATH(name, what, room, parameters, arguments)                                                \
    int name parameters                                                                                      \
    {                                                                                                        \
        return at_path(what, AT_FDCWD, path, room) ? no_room() : REAL(name) arguments;                       \
    }
HERE_ON_PATH(unlink, "remove", 0, (const char *path), (path))
HERE_ON_PATH(rmdir, "remove", 0, (const char *path), (path))

int mkdir(const char *path, mode_t mode)
{
    int there = REAL(access)(path, F_OK) == 0;
    return at_path("make", AT_FDCWD, path, !there) ? no_room() : REAL(mkdir)(path, mode);
}
HERE_ON_PATH(rename, "move", 0, (const char *from, const char *path), (from, path))
