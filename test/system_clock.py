"""A system clock to be set: of every process started from now on, while ours goes on as it was.

Debian's libfaketime breaks Python's own sleep (it takes every absolute time for one of the system clock), and
a time namespace of Linux holds the steady clocks only. So the few calls that read the system clock, or wait
until a time of it, are answered by a library of our own that adds an offset.
"""

from __future__ import annotations

import mmap
import struct
import subprocess
from pathlib import Path

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t SECOND = 1000000000;
static volatile int64_t *offset_ns;

__attribute__((constructor)) static void open_offset(void) {
    int file = open(getenv("CLOCK_OFFSET_FILE"), O_RDONLY);
    void *mapped = mmap(NULL, sizeof *offset_ns, PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) abort();
    offset_ns = mapped;
    close(file);
}

static void shift(struct timespec *at, int64_t by_ns) {
    int64_t ns = at->tv_sec * SECOND + at->tv_nsec + by_ns;
    at->tv_sec = ns / SECOND;
    at->tv_nsec = ns % SECOND;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (failed || !offset_ns) return failed;
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) shift(now, *offset_ns);
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    now->tv_sec = at.tv_sec;
    now->tv_usec = at.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    if (now) *now = at.tv_sec;
    return at.tv_sec;
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *until) {
    static int (*wait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    if (!wait) wait = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
    if (until->tv_sec < SECOND) /* no date, but an uptime */
        return wait(cond, mutex, CLOCK_MONOTONIC, until);
    struct timespec at = *until;
    shift(&at, -*offset_ns);
    return wait(cond, mutex, CLOCK_REALTIME, &at);
}
"""


class SystemClock:
    """Needs a C compiler, which `make setup` installs."""

    def __init__(self, monkeypatch, folder: Path) -> None:
        source, library, offset = folder / "clock.c", folder / "clock.so", folder / "offset"
        source.write_text(SOURCE)
        subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
        offset.write_bytes(bytes(8))
        with offset.open("r+b") as file:
            self._offset = mmap.mmap(file.fileno(), 8)
        monkeypatch.setenv("CLOCK_OFFSET_FILE", str(offset))
        monkeypatch.setenv("LD_PRELOAD", str(library))

    def set(self, seconds: float) -> None:
        """So far from ours, at once."""
        self._offset[:] = struct.pack("=q", round(seconds * 1e9))
