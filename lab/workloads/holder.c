/*
 * holder SOCKETPATH [SECONDS]: receives one dma-buf from a session and keeps it
 * open until SIGTERM, or for SECONDS. It represents a process that outlives the
 * VMM.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "handover.h"
#include "text.h"

int main(int count, char **words)
{
	struct timespec limit = { .tv_sec = 86400 };
	struct stat file;
	sigset_t stop;
	int fd;

	message_context("holder", NULL);
	if (count < 2 || count > 3)
		give_up(EXIT_USAGE, "needs a path; usage: holder SOCKETPATH [SECONDS]");
	if (count == 3) {
		uint64_t ns = nanoseconds(words[2]);

		limit.tv_sec = (time_t)(ns / 1000000000u);
		limit.tv_nsec = (long)(ns % 1000000000u);
	}
	fd = handover_receive(words[1]);
	if (fd < 0)
		give_up(EXIT_ENVIRONMENT, "received no descriptor at %s: %m", words[1]);
	if (fstat(fd, &file))
		give_up(EXIT_ENVIRONMENT, "cannot stat the descriptor from %s: %m", words[1]);

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, NULL);
	printf("holding inode=%llu size=%lld pid=%d\n", (unsigned long long)file.st_ino,
	       (long long)lseek(fd, 0, SEEK_END), (int)getpid());
	fflush(stdout);
	while (sigtimedwait(&stop, NULL, &limit) < 0 && errno == EINTR)
		;
	return 0;
}
