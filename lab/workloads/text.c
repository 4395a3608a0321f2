#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *program_name = "workload";
static const char *step_text;

void message_context(const char *program, const char *step)
{
	program_name = program;
	step_text = step;
}

_Noreturn void give_up(enum exit_code code, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: ", program_name);
	if (step_text)
		fprintf(stderr, "step '%s': ", step_text);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(code);
}

uint64_t number(const char *word, uint64_t most)
{
	char *end;
	uint64_t value;

	errno = 0;
	value = strtoull(word ? word : "", &end, 0);
	if (!word || end == word || *end || errno || word[0] == '-')
		give_up(EXIT_USAGE, "'%s' is not a number; write it as 4096 or 0x1000",
			word ? word : "");
	if (value > most)
		give_up(EXIT_USAGE, "%s is too large; the limit is %llu",
			word, (unsigned long long)most);
	return value;
}

int64_t signed_number(const char *word)
{
	if (word && word[0] == '-')
		return -(int64_t)number(word + 1, INT32_MAX);
	return (int64_t)number(word, INT32_MAX);
}

uint64_t nanoseconds(const char *word)
{
	char *end;
	double seconds = strtod(word ? word : "", &end);

	if (!word || end == word || *end || !(seconds >= 0 && seconds <= 86400))
		give_up(EXIT_USAGE, "'%s' is not a time; write seconds, as 2 or 0.5",
			word ? word : "");
	return (uint64_t)(seconds * 1e9);
}

char *next_word(char **rest)
{
	char *word = *rest;

	if (!word || !*word)
		return NULL;
	*rest = strchr(word, ',');
	if (*rest)
		*(*rest)++ = '\0';
	return word;
}

char *option(char *word, const char *name)
{
	size_t length = strlen(name);

	if (strncmp(word, name, length) || word[length] != '=')
		return NULL;
	return word + length + 1;
}

void sleep_for(uint64_t ns)
{
	struct timespec left = {
		.tv_sec = (time_t)(ns / 1000000000u),
		.tv_nsec = (long)(ns % 1000000000u),
	};

	while (nanosleep(&left, &left) && errno == EINTR)
		;
}
