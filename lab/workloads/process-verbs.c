/* Steps for the process itself: name, delays, end. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "session.h"
#include "text.h"

/* \xNN is one byte, so that a scenario can set a name that is not valid UTF-8. */
static struct answer comm(struct session *session, char *arguments)
{
	char *to = arguments;

	(void)session;
	for (const char *from = arguments; *from; from++) {
		if (from[0] == '\\' && from[1] == 'x' && from[2] && from[3]) {
			char digits[3] = { from[2], from[3], '\0' };
			char *end;

			*to++ = (char)strtoul(digits, &end, 16);
			if (*end)
				give_up(EXIT_USAGE, "\\x%s is not a byte; write two hexadecimal digits", digits);
			from += 3;
		} else {
			*to++ = *from;
		}
	}
	*to = '\0';
	return answer_of(prctl(PR_SET_NAME, arguments));
}

static struct answer sleep_seconds(struct session *session, char *arguments)
{
	(void)session;
	sleep_for(nanoseconds(arguments));
	return answer_of(0);
}

static struct answer touch(struct session *session, char *arguments)
{
	int fd = open(arguments, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	(void)session;
	if (fd >= 0)
		close(fd);
	return answer_of(fd < 0 ? -1 : 0);
}

static struct answer wait_for(struct session *session, char *arguments)
{
	enum { SECONDS = 120, PER_SECOND = 20 };

	(void)session;
	for (int i = 0; i < SECONDS * PER_SECOND; i++) {
		if (!access(arguments, F_OK))
			return answer_of(0);
		sleep_for(1000000000u / PER_SECOND);
	}
	give_up(EXIT_TIMED_OUT, "%s did not appear within %d s; does the process that creates it still run?",
		arguments, SECONDS);
}

/* Ends as a VMM that crashes: the kernel closes everything. */
static struct answer kill_self(struct session *session, char *arguments)
{
	(void)session;
	(void)arguments;
	return answer_of(kill(getpid(), SIGKILL));
}

const struct verb process_verbs[] = {
	{ "comm", "NAME", comm },
	{ "sleep", "SECONDS", sleep_seconds },
	{ "touch", "PATH", touch },
	{ "wait", "PATH", wait_for },
	{ "kill", NULL, kill_self },
	{ 0 },
};
