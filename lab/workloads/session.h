/* State of a session, and the result of a step. */
#ifndef LAB_SESSION_H
#define LAB_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "iommufd.h"
#include "kvm.h"
#include "vfio.h"

enum { MOST_VMS = 16, MOST_DEVICES = 16, MOST_BUFFERS = 16384 };

struct buffer {
	int fd;          /* -1 when closed */
	int path_fd;     /* opened with O_PATH, or -1 */
	uint64_t size;
	uint64_t iova;   /* while iommufd maps it */
	int slot;        /* the last slot of the KVM importer, or -1 */
	int attachment;  /* the last id of the lab's importer or of its RDMA one, or -1 */
};

struct session {
	struct vm vms[MOST_VMS];
	unsigned int vm_count;
	struct device devices[MOST_DEVICES];
	unsigned int device_count;
	struct device *current;
	struct buffer *buffers;
	unsigned int buffer_count;
	int vgem_fd, importer_fd;
	struct iommufd iommufd;
};

/* Result of a step. buffer is the one that the step made, or NULL. */
struct answer {
	int64_t ret;
	int error;
	const struct buffer *buffer;
	unsigned int times;  /* number of calls, if more than one */
	unsigned int made;   /* number of calls that succeeded */
};

typedef struct answer verb_function(struct session *session, char *arguments);

struct verb {
	const char *name;
	const char *arguments;  /* for the usage text; NULL if it takes none */
	verb_function *run;
};

/* Every table ends with an entry without a name. */
extern const struct verb device_verbs[];
extern const struct verb buffer_verbs[];
extern const struct verb iommufd_verbs[];
extern const struct verb importer_verbs[];
extern const struct verb process_verbs[];

/* Makes an answer from a return value and errno. */
struct answer answer_of(int64_t ret);
/* Each of these exits with a usage error if it finds nothing. */
struct device *current_device(struct session *session);
struct buffer *buffer_of(struct session *session, const char *word);
struct vm *vm_of(struct session *session, const char *name);

void session_start(struct session *session);
/* Returns the verb of a step (VERB or VERB=ARGUMENTS). Exits with a usage error if there is none. */
const struct verb *step_check(const char *step);
/* Executes one step and prints its line. */
void step_run(struct session *session, unsigned int number, const char *step);
void steps_usage(void);

#endif
