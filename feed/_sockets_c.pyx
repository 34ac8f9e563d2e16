# cython: language_level=3
# distutils: depends = feed/udp.pxd
# distutils: extra_compile_args = -O3
"""The compiled twin of `feed._sockets_py`: one call of the system for many datagrams (Linux)."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdlib cimport calloc, free
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

import os

from feed._sockets_py import Sent

cdef enum:
    SEND_BATCH = 64  # handed to the kernel at once; with more of them a datagram gets no cheaper


cdef class DatagramReader:
    """Takes datagrams from sockets, at most `limit` at a time, each cut off after `read_bytes`.

    They arrive in memory that is there once and for all. One thread at a time may read.
    """

    cdef unsigned int _limit
    cdef char *_space  # `limit` places of `read_bytes` each
    cdef iovec *_places
    cdef mmsghdr *_messages

    def __cinit__(self, Py_ssize_t limit, Py_ssize_t read_bytes):
        cdef Py_ssize_t i
        if limit < 1 or read_bytes < 1:
            raise ValueError("there must be room for a datagram of one byte")
        self._limit = limit
        self._space = <char *>calloc(limit, read_bytes)
        self._places = <iovec *>calloc(limit, sizeof(iovec))
        self._messages = <mmsghdr *>calloc(limit, sizeof(mmsghdr))
        if not self._space or not self._places or not self._messages:
            raise MemoryError
        for i in range(limit):
            self._places[i].iov_base = self._space + i * read_bytes
            self._places[i].iov_len = read_bytes
            self._messages[i].msg_hdr.msg_iov = &self._places[i]
            self._messages[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self._messages)
        free(self._places)
        free(self._space)

    def read(self, opened not None):
        """The datagrams that wait at a socket, in their order; raises OSError as `recv` does."""
        cdef int fd = opened.fileno()
        cdef int count, i, error = 0
        cdef list taken = []
        while True:
            with nogil:
                count = recvmmsg(fd, self._messages, self._limit, MSG_DONTWAIT, NULL)
                if count < 0:
                    error = errno
            if count >= 0:
                break
            if error == EAGAIN:
                return taken
            if error != EINTR:
                raise OSError(error, os.strerror(error))
            PyErr_CheckSignals()
        for i in range(count):
            taken.append(
                PyBytes_FromStringAndSize(
                    <const char *>self._places[i].iov_base, self._messages[i].msg_len
                )
            )
        return taken


def send_datagrams(opened not None, datagrams, address):
    """Send each datagram to `address`, a dotted number and a port, in order.

    See `feed._sockets_py.send_datagrams`.
    """
    cdef sockaddr_in to
    cdef mmsghdr[SEND_BATCH] messages
    cdef iovec[SEND_BATCH] places
    cdef list all_of_them = list(datagrams)
    cdef int fd = opened.fileno()
    cdef Py_ssize_t first = 0, total = len(all_of_them), i
    cdef Py_ssize_t sent = 0, sent_bytes = 0
    cdef int count, done, error = 0
    read_address(address, &to)
    while first < total:
        count = min(SEND_BATCH, total - first)
        for i in range(count):
            place_datagram(all_of_them[first + i], &to, &messages[i], &places[i])
        with nogil:
            done = sendmmsg(fd, messages, count, 0)
            if done < 0:
                # Only the first one's error is told: then none was sent. It is lost if refused.
                if errno != EINTR:
                    error = errno
                    first += 1
                done = 0
        for i in range(done):
            sent_bytes += messages[i].msg_len
        sent += done
        first += done
        PyErr_CheckSignals()
    return Sent(sent, sent_bytes, error)


cdef int place_datagram(bytes data, sockaddr_in *to, mmsghdr *message, iovec *place) except -1:
    """Have `message` send `data`, which must live until it has been sent."""
    if data is None:
        raise TypeError("None is no datagram")
    place.iov_base = PyBytes_AS_STRING(data)
    place.iov_len = PyBytes_GET_SIZE(data)
    memset(message, 0, sizeof(mmsghdr))
    message.msg_hdr.msg_name = to
    message.msg_hdr.msg_namelen = sizeof(sockaddr_in)
    message.msg_hdr.msg_iov = place
    message.msg_hdr.msg_iovlen = 1
    return 0
