/* Passes a file descriptor from one process to another over a unix socket. */
#ifndef LAB_HANDOVER_H
#define LAB_HANDOVER_H

/* Returns 0, or -1 and errno. Waits up to 10 s for the receiver to listen. */
int handover_send(int fd, const char *socket_path);
/* Listens and returns one received descriptor, or -1 and errno. */
int handover_receive(const char *socket_path);

#endif
