/* Words in, numbers out, and the two ways a program gives up. */
#ifndef LAB_TEXT_H
#define LAB_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum exit_code {
	EXIT_USAGE = 2,        /* the caller wrote something wrong */
	EXIT_ENVIRONMENT = 3,  /* this machine lacks something */
	EXIT_TIMED_OUT = 4,    /* a bounded wait ran out */
};

/* What every message names first: the program, then the step it works on. */
void message_context(const char *program, const char *step);
_Noreturn void give_up(enum exit_code code, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

uint64_t number(const char *word, uint64_t most);
int64_t signed_number(const char *word);
/* Seconds with an optional fraction, as nanoseconds. */
uint64_t nanoseconds(const char *word);
/* Takes the next comma-separated word off *rest; NULL when none is left. */
char *next_word(char **rest);
/* If word is "name=value", the value; else NULL. */
char *option(char *word, const char *name);
void sleep_for(uint64_t ns);

#endif
