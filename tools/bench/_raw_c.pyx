# cython: language_level=3
# distutils: depends = feed/udp.pxd
# distutils: extra_compile_args = -O3
"""The limit of the network: sendmmsg of one packet, recvmmsg into memory that nobody looks at.

See `tools.bench._raw_py` for what the functions do.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EINTR, errno
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from feed.udp cimport (
    MSG_DONTWAIT,
    iovec,
    mmsghdr,
    read_address,
    recvmmsg,
    sendmmsg,
    sockaddr_in,
)

cdef extern from *:
    uint64_t atomic_load "__atomic_load_n" (const uint64_t *at, int order) nogil
    void atomic_store "__atomic_store_n" (uint64_t *at, uint64_t value, int order) nogil
    enum:
        __ATOMIC_RELAXED

cdef extern from "<poll.h>" nogil:
    struct pollfd:
        int fd
        short events
    enum:
        POLLIN
    int poll(pollfd *polled, unsigned long count, int timeout_ms)

cdef extern from "<time.h>" nogil:
    struct timespec:
        long tv_sec
        long tv_nsec
    enum:
        CLOCK_MONOTONIC
    int clock_gettime(int clock, timespec *now)
    int nanosleep(const timespec *wait, timespec *left)

cdef enum:
    SEND_BATCH = 32
    READ_BATCH = 64
    WAIT_NS = 20_000

BATCH = SEND_BATCH


def send_packets(
    opened, bytes packet not None, uint64_t count, address,
    uint64_t[::1] progress not None, uint64_t window, double patience_s,
):
    """Send `packet` so many times, and never more than `window` ahead of the slowest receiver."""
    cdef sockaddr_in to
    cdef mmsghdr[SEND_BATCH] messages
    cdef iovec place
    cdef timespec wait = timespec(0, WAIT_NS)
    cdef int fd = opened.fileno(), done, i
    cdef uint64_t sent = 0, slowest
    cdef double deadline
    read_address(address, &to)
    place.iov_base = PyBytes_AS_STRING(packet)
    place.iov_len = PyBytes_GET_SIZE(packet)
    memset(messages, 0, sizeof(messages))
    for i in range(SEND_BATCH):
        messages[i].msg_hdr.msg_name = &to
        messages[i].msg_hdr.msg_namelen = sizeof(to)
        messages[i].msg_hdr.msg_iov = &place
        messages[i].msg_hdr.msg_iovlen = 1
    with nogil:
        deadline = now_s() + patience_s
        while sent < count:
            slowest = count
            for i in range(progress.shape[0]):
                slowest = min(slowest, atomic_load(&progress[i], __ATOMIC_RELAXED))
            if sent + SEND_BATCH - slowest > window:
                if now_s() > deadline:
                    break
                nanosleep(&wait, NULL)
                continue
            done = sendmmsg(fd, messages, <unsigned int>min(SEND_BATCH, count - sent), 0)
            if done < 0 and errno != EINTR:
                break
            sent += max(done, 0)
            deadline = now_s() + patience_s
    return sent


def receive_packets(
    opened, uint64_t count, size_t read_bytes,
    uint64_t[::1] progress not None, Py_ssize_t place, double patience_s,
):
    """Receive so many packets, and keep `progress[place]` up to date; how many there were."""
    cdef mmsghdr[READ_BATCH] messages
    cdef iovec[READ_BATCH] places
    cdef pollfd waiting
    cdef int fd = opened.fileno(), done, i
    cdef uint64_t received = 0
    cdef uint64_t *own_progress = &progress[place]  # checks that there is such a place
    cdef char *space = <char *>malloc(READ_BATCH * read_bytes)
    if not space:
        raise MemoryError
    memset(messages, 0, sizeof(messages))
    for i in range(READ_BATCH):
        places[i].iov_base = space + i * read_bytes
        places[i].iov_len = read_bytes
        messages[i].msg_hdr.msg_iov = &places[i]
        messages[i].msg_hdr.msg_iovlen = 1
    waiting.fd = fd
    waiting.events = POLLIN
    with nogil:
        while received < count:
            done = recvmmsg(fd, messages, READ_BATCH, MSG_DONTWAIT, NULL)
            if done > 0:
                received += done
                atomic_store(own_progress, received, __ATOMIC_RELAXED)
            elif poll(&waiting, 1, <int>(patience_s * 1000)) <= 0:
                break
    free(space)
    return received


cdef inline double now_s() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec * 1e-9
