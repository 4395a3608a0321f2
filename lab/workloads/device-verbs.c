/* Steps for VMs and devices. */
#include <errno.h>
#include <string.h>

#include "lab_vm_kind.h"
#include "session.h"
#include "text.h"

static struct answer vm(struct session *session, char *arguments)
{
	const char *name = next_word(&arguments);
	uint32_t type = 0, flags = 0;
	bool marked = false;
	struct vm *vm;
	int ret;

	for (char *word; (word = next_word(&arguments)); marked = true) {
		if (!strcmp(word, "sev"))
			flags = LAB_VM_SEV;
		else if (!strcmp(word, "sev-es"))
			flags = LAB_VM_SEV | LAB_VM_SEV_ES;
		else if (option(word, "type"))
			type = (uint32_t)number(option(word, "type"), UINT8_MAX);
		else
			give_up(EXIT_USAGE, "'%s' is unknown here; write vm=NAME[,type=N][,sev|sev-es]", word);
	}
	if (!name)
		give_up(EXIT_USAGE, "a VM needs a name; write vm=NAME[,type=N][,sev|sev-es]");
	for (unsigned int i = 0; i < session->vm_count; i++)
		if (session->vms[i].fd >= 0 && !strcmp(session->vms[i].name, name))
			give_up(EXIT_USAGE, "the VM %s is open already; give this one another name", name);
	if (session->vm_count == MOST_VMS)
		give_up(EXIT_USAGE, "at most %d VMs are possible", MOST_VMS);
	vm = &session->vms[session->vm_count];
	ret = vm_open(vm, name);
	if (!ret)
		session->vm_count++;
	if (!ret && marked)
		ret = vm_mark(vm, type, flags);
	return answer_of(ret);
}

static struct answer close_vm(struct session *session, char *arguments)
{
	vm_close(vm_of(session, arguments));
	return answer_of(0);
}

static struct device *device_at(struct session *session, const char *address)
{
	for (unsigned int i = 0; i < session->device_count; i++)
		if (session->devices[i].fd >= 0 && !strcmp(session->devices[i].address, address))
			return &session->devices[i];
	return NULL;
}

static struct device *open_device(struct session *session, const char *address)
{
	struct device *device = device_at(session, address);

	if (!device)
		give_up(EXIT_USAGE, "%s is not open; write device=%s before this step", address, address);
	return device;
}

/* Opens a device by its group and a container, or by its own file and the session's iommufd. */
static struct answer open_by(struct session *session, const char *verb, char *arguments)
{
	char *address = next_word(&arguments);
	bool cdev = !strcmp(verb, "cdev");
	struct vm *vm = NULL;
	struct device *device;
	int ret, vm_vfio_fd;

	for (char *word; (word = next_word(&arguments));) {
		if (!option(word, "vm"))
			give_up(EXIT_USAGE, "'%s' is unknown here; write %s=ADDRESS[,vm=NAME]", word, verb);
		vm = vm_of(session, option(word, "vm"));
	}
	if (!address || strlen(address) != strlen("0000:00:00.0"))
		give_up(EXIT_USAGE, "'%s' is not a PCI address; write it as 0000:00:05.0", address ? address : "");
	if (device_at(session, address))
		give_up(EXIT_USAGE, "%s is open already; use=%s makes it current", address, address);
	if (session->device_count == MOST_DEVICES)
		give_up(EXIT_USAGE, "at most %d devices are possible", MOST_DEVICES);
	if (cdev && session->iommufd.fd < 0 && iommufd_open(&session->iommufd))
		return answer_of(-1);
	device = &session->devices[session->device_count];
	vm_vfio_fd = vm ? vm->vfio_fd : -1;
	ret = cdev ? device_open_cdev(device, address, vm_vfio_fd, &session->iommufd) :
		     device_open(device, address, vm_vfio_fd);
	if (!ret) {
		session->device_count++;
		session->current = device;
	}
	return answer_of(ret);
}

static struct answer device(struct session *session, char *arguments)
{
	return open_by(session, "device", arguments);
}

static struct answer cdev(struct session *session, char *arguments)
{
	return open_by(session, "cdev", arguments);
}

static struct answer use(struct session *session, char *arguments)
{
	session->current = open_device(session, arguments);
	return answer_of(0);
}

static struct answer close_device(struct session *session, char *arguments)
{
	device_close(open_device(session, arguments));
	return answer_of(0);
}

static struct answer memory(struct session *session, char *arguments)
{
	bool on = !strcmp(arguments, "on");

	if (!on && strcmp(arguments, "off"))
		give_up(EXIT_USAGE, "write memory=on or memory=off");
	return answer_of(device_memory(current_device(session), on));
}

static struct answer reset(struct session *session, char *arguments)
{
	(void)arguments;
	return answer_of(device_reset(current_device(session)));
}

static struct answer hot_reset(struct session *session, char *arguments)
{
	(void)arguments;
	return answer_of(device_hot_reset(current_device(session), session->devices, session->device_count));
}

static struct answer flr(struct session *session, char *arguments)
{
	(void)arguments;
	return answer_of(device_function_level_reset(current_device(session)));
}

static struct answer power(struct session *session, char *arguments)
{
	bool sleeping = !strcmp(arguments, "d3");

	if (!sleeping && strcmp(arguments, "d0"))
		give_up(EXIT_USAGE, "write power=d3 or power=d0");
	return answer_of(device_power(current_device(session), sleeping ? 3 : 0));
}

const struct verb device_verbs[] = {
	{ "vm", "NAME[,type=N][,sev|sev-es]", vm },
	{ "close-vm", "NAME", close_vm },
	{ "device", "ADDRESS[,vm=NAME]", device },
	{ "cdev", "ADDRESS[,vm=NAME]", cdev },
	{ "use", "ADDRESS", use },
	{ "close-device", "ADDRESS", close_device },
	{ "memory", "on|off", memory },
	{ "reset", NULL, reset },
	{ "hot-reset", NULL, hot_reset },
	{ "flr", NULL, flr },
	{ "power", "d3|d0", power },
	{ 0 },
};
