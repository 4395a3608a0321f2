/* A file descriptor handed from one process to another over a unix socket. */
#ifndef LAB_HANDOVER_H
#define LAB_HANDOVER_H

/* 0, or -1 and errno. Waits up to 10 s for the receiver to listen. */
int handover_send(int fd, const char *socket_path);
/* Listens, takes one descriptor; -1 and errno. */
int handover_receive(const char *socket_path);

#endif
