/* Finds the verb of a step, runs it, and prints its line. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "session.h"
#include "text.h"

static const struct verb *const tables[] = {
	device_verbs, buffer_verbs, iommufd_verbs, importer_verbs, process_verbs,
};

static const struct verb *find(const char *name, size_t length)
{
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (const struct verb *verb = tables[t]; verb->name; verb++)
			if (strlen(verb->name) == length && !memcmp(verb->name, name, length))
				return verb;
	return NULL;
}

void steps_usage(void)
{
	puts("usage: session STEP...\n\nSteps, executed in order, one line of output each:");
	for (size_t t = 0; t < sizeof(tables) / sizeof(tables[0]); t++)
		for (const struct verb *verb = tables[t]; verb->name; verb++)
			printf("  %s%s%s\n", verb->name, verb->arguments ? "=" : "",
			       verb->arguments ? verb->arguments : "");
	puts("\nexit: 0 every step was executed (a rejection is a result), 2 wrong usage,\n"
	     "      3 the machine lacks something, 4 a wait timed out");
}

const struct verb *step_check(const char *step)
{
	size_t length = strcspn(step, "=");
	const struct verb *verb = find(step, length);

	message_context("session", step);
	if (!verb)
		give_up(EXIT_USAGE, "no verb '%.*s'; `session --help` lists them", (int)length, step);
	if (verb->arguments && !step[length] && verb->arguments[0] != '[')
		give_up(EXIT_USAGE, "needs arguments: %s=%s", verb->name, verb->arguments);
	if (!verb->arguments && step[length])
		give_up(EXIT_USAGE, "takes no arguments: write %s", verb->name);
	return verb;
}

static void print(unsigned int number, const char *verb, const struct session *session,
		  const struct answer *answer)
{
	struct stat file;

	printf("step=%u verb=%s ret=%lld errno=%d", number, verb, (long long)answer->ret, answer->error);
	if (answer->buffer && !fstat(answer->buffer->fd, &file))
		printf(" inode=%llu size=%llu fd=%d buffer=%td", (unsigned long long)file.st_ino,
		       (unsigned long long)answer->buffer->size, answer->buffer->fd,
		       answer->buffer - session->buffers);
	if (answer->times > 1)
		printf(" times=%u made=%u", answer->times, answer->made);
	putchar('\n');
	fflush(stdout);
}

void step_run(struct session *session, unsigned int number, const char *step)
{
	char *text = strdup(step);
	char *arguments = text ? strchr(text, '=') : NULL;
	const struct verb *verb = step_check(step);
	struct answer answer;

	if (!text)
		abort();
	if (arguments)
		*arguments++ = '\0';
	answer = verb->run(session, arguments);
	print(number, verb->name, session, &answer);
	free(text);
}

struct answer answer_of(int64_t ret)
{
	return (struct answer){ .ret = ret, .error = ret < 0 ? errno : 0 };
}

struct device *current_device(struct session *session)
{
	if (!session->current || session->current->fd < 0)
		give_up(EXIT_USAGE, "no device is open; write device=ADDRESS (or use=ADDRESS) before this step");
	return session->current;
}

struct buffer *buffer_of(struct session *session, const char *word)
{
	uint64_t index = number(word, MOST_BUFFERS - 1);

	if (index >= session->buffer_count)
		give_up(EXIT_USAGE, "no buffer %llu: %u were made so far (a rejected export makes none)",
			(unsigned long long)index, session->buffer_count);
	return &session->buffers[index];
}

struct vm *vm_of(struct session *session, const char *name)
{
	for (unsigned int i = 0; i < session->vm_count; i++)
		if (name && session->vms[i].fd >= 0 && !strcmp(session->vms[i].name, name))
			return &session->vms[i];
	give_up(EXIT_USAGE, "no open VM is named '%s'; write vm=NAME before this step", name ? name : "");
}
