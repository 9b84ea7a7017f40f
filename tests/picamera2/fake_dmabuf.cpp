// Memory files in place of dma-bufs, for machines whose kernel has no dma-heap: LD_PRELOADed before libcamera and Picamera2.
// The real call always comes first; only what the kernel refuses is answered here. Deliberately not here: memory of a device.
#include <cerrno>
#include <cstdarg>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/dma-heap.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

constexpr char kHeap[] = "/dev/dma_heap/linux,cma";  // the name that both Picamera2 and libcamera open

template<typename Function>
Function *next(const char *name) { return reinterpret_cast<Function *>(dlsym(RTLD_NEXT, name)); }

int opened(int real, const char *path, int flags)
{
	if (real >= 0 || std::strcmp(path, kHeap) != 0)
		return real;
	return memfd_create("dma-heap", flags & O_CLOEXEC ? MFD_CLOEXEC : 0);
}

int allocated(dma_heap_allocation_data *wanted)
{
	int fd = memfd_create("dma-buf", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, static_cast<off_t>(wanted->len)) < 0)
		return -1;
	wanted->fd = static_cast<__u32>(fd);
	return 0;
}

mode_t mode_of(int flags, va_list arguments) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0; }

}  // namespace

#define PRIVCAM_OPEN(NAME)                                                            \
	extern "C" int NAME(const char *path, int flags, ...)                         \
	{                                                                             \
		va_list arguments;                                                    \
		va_start(arguments, flags);                                           \
		mode_t mode = mode_of(flags, arguments);                              \
		va_end(arguments);                                                    \
		static auto *real = next<int(const char *, int, ...)>(#NAME);         \
		return opened(real(path, flags, mode), path, flags);                  \
	}
#define PRIVCAM_OPEN_CHECKED(NAME)                                                    \
	extern "C" int NAME(const char *path, int flags)                              \
	{                                                                             \
		static auto *real = next<int(const char *, int)>(#NAME);              \
		return opened(real(path, flags), path, flags);                        \
	}
PRIVCAM_OPEN(open)
PRIVCAM_OPEN(open64)
PRIVCAM_OPEN_CHECKED(__open_2)
PRIVCAM_OPEN_CHECKED(__open64_2)

extern "C" int ioctl(int fd, unsigned long request, ...) noexcept
{
	va_list arguments;
	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	static auto *real = next<int(int, unsigned long, ...)>("ioctl");
	int answer = real(fd, request, argument);
	if (answer >= 0 || errno != ENOTTY)
		return answer;
	if (request == DMA_HEAP_IOCTL_ALLOC)
		return allocated(static_cast<dma_heap_allocation_data *>(argument));
	bool names = request == DMA_BUF_SET_NAME || request == DMA_BUF_SET_NAME_A || request == DMA_BUF_SET_NAME_B;
	return names || request == DMA_BUF_IOCTL_SYNC ? 0 : answer;  // one memory, one processor: nothing to bring into step
}
