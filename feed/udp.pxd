"""What the compiled modules call of the system to send and receive datagrams over IPv4 (Linux)."""

from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memset


cdef extern from "<arpa/inet.h>" nogil:
    uint16_t htons(uint16_t port)
    int inet_pton(int family, const char *text, void *address)


cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        uint32_t s_addr
    struct sockaddr_in:
        unsigned short sin_family
        uint16_t sin_port
        in_addr sin_addr


cdef extern from "<sys/socket.h>" nogil:
    enum:
        AF_INET
        MSG_DONTWAIT
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        unsigned int msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout)
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags)


cdef inline int read_address(address, sockaddr_in *to) except -1:
    """Take over a host, as a dotted number, and a port."""
    host, port = address
    cdef bytes text = host.encode("ascii")
    memset(to, 0, sizeof(sockaddr_in))
    to.sin_family = AF_INET
    to.sin_port = htons(port)
    if inet_pton(AF_INET, text, &to.sin_addr) != 1:
        raise ValueError(f"{host!r} is not an address of IPv4 in dotted numbers")
    return 0
