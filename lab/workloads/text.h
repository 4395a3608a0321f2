/* Parses arguments, and exits with an error message. */
#ifndef LAB_TEXT_H
#define LAB_TEXT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum exit_code {
	EXIT_USAGE = 2,        /* the caller wrote something wrong */
	EXIT_ENVIRONMENT = 3,  /* this machine lacks something */
	EXIT_TIMED_OUT = 4,    /* a wait timed out */
};

/* Sets the prefix of every message: the program and the current step. */
void message_context(const char *program, const char *step);
_Noreturn void give_up(enum exit_code code, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

uint64_t number(const char *word, uint64_t most);
int64_t signed_number(const char *word);
/* Parses seconds with an optional fraction, and returns nanoseconds. */
uint64_t nanoseconds(const char *word);
/* Removes the next comma-separated word from *rest and returns it; NULL if none is left. */
char *next_word(char **rest);
/* Returns the value if word is "name=value", otherwise NULL. */
char *option(char *word, const char *name);
void sleep_for(uint64_t ns);

#endif
