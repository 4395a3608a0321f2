/*
 * session [STEP...]: a VMM stand-in. It makes the calls of a VMM to VFIO, KVM
 * and the importers, one step after the other, and prints the results. A
 * rejected call is a result. Only a wrong step or a missing device ends it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "session.h"
#include "text.h"

void session_start(struct session *session)
{
	struct rlimit files;

	memset(session, 0, sizeof(*session));
	session->vgem_fd = session->importer_fd = session->iommufd.fd = -1;
	session->buffers = calloc(MOST_BUFFERS, sizeof(*session->buffers));
	if (!session->buffers)
		abort();
	/* A load test keeps thousands of exports open. */
	if (!getrlimit(RLIMIT_NOFILE, &files)) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

int main(int count, char **words)
{
	struct session session;

	message_context("session", NULL);
	if (count < 2 || !strcmp(words[1], "--help")) {
		steps_usage();
		return count < 2 ? EXIT_USAGE : EXIT_SUCCESS;
	}
	/* Check all steps before the first one runs, so that a misspelt step has no side effects. */
	for (int i = 1; i < count; i++)
		step_check(words[i]);
	session_start(&session);
	for (int i = 1; i < count; i++)
		step_run(&session, (unsigned int)i, words[i]);
	return EXIT_SUCCESS;
}
