// A raw virtual camera for the unmodified libcamera: its "virtual" pipeline handler with other streams, controls and pixels.
//
// LD_PRELOADed. The stock handler gives NV12 test patterns and no control; what is exported by libcamera.so under the names below
// is answered here instead, with public headers only. A libcamera that renames one of them leaves the stock camera, whose Model is
// not "imx477": look at that first. The pixels come from `virtual_sensor.h`, the scene from the file that HILCAM_SCENE names.
//   HILCAM_SCENE   the scene file, read again whenever it changes
//   HILCAM_BOARD   "pi5": raw comes as a Pi 5 gives it, unpacked and left-justified in 16 bits; else as a Pi 4 does
// Simulated here: sensor modes, whole lines and gain codes, controls that act later, exposure and gain one frame apart, frames at
// the sensor's own pace that are lost where no request waits, an automatic exposure that is never at rest. Assumed, not measured:
// the delays and the automatic. Deliberately not here: an image processor (main and lores streams show the raw pixels in grey),
// the PiSP's compressed raw, lens shading, defect correction, the vendor's controls.
#include "virtual_sensor.h"

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <dlfcn.h>
#include <memory>
#include <sys/mman.h>
#include <thread>

#include <libcamera/camera.h>
#include <libcamera/control_ids.h>
#include <libcamera/formats.h>
#include <libcamera/property_ids.h>

namespace libcamera {

// Names of libcamera's own classes, for their mangled names; no member is looked at.
class PipelineHandler
{
public:
	void registerCamera(std::shared_ptr<Camera> camera);
};

class PipelineHandlerVirtual
{
public:
	std::unique_ptr<CameraConfiguration> generateConfiguration(Camera *camera, Span<const StreamRole> roles);
	int configure(Camera *camera, CameraConfiguration *configuration);
	int start(Camera *camera, const ControlList *controls);
};

class TestPatternGenerator
{
public:
	int generateFrame(const Size &size, const FrameBuffer *buffer);
};

}  // namespace libcamera

using namespace libcamera;

namespace {

constexpr double kPixelRate = 840e6;  // Linux driver imx477.c, as are line lengths, frame rates, offset and smallest exposure
constexpr int kExposureOffsetLines = 22, kShortestLines = 4, kLongestLines = 0xffff - kExposureOffsetLines;
constexpr int kGainSteps = 1024, kLargestGainCode = 978;  // gain = 1024 / (1024 - code)
constexpr int kExposureDelay = 2;  // frames from a request to its effect
constexpr int kGainDelay = 3;      // apart, so that whoever looks at one of the two alone is found out
constexpr int64_t kLongestFrameUs = 10'000'000;
constexpr unsigned kSeed = 477;

struct Mode {
	int columns, rows, bits, line_pixels, frame_us;
	Rectangle crop;

	Size size() const { return Size(columns, rows); }
	double line_us() const { return line_pixels / kPixelRate * 1e6; }
};

const Size kArray(4056, 3040);
const std::array<Mode, 3> kModes = { {
	{ 1332, 990, 10, 6664, 8333, Rectangle(696, 528, 2664, 1980) },
	{ 2028, 1520, 12, 12740, 25000, Rectangle(0, 0, 4056, 3040) },
	{ 4056, 3040, 12, 24000, 100000, Rectangle(0, 0, 4056, 3040) },
} };

bool is_pi5() { const char *board = std::getenv("HILCAM_BOARD"); return board && std::strcmp(board, "pi5") == 0; }

struct RawFormat {
	std::array<PixelFormat, 4> orders;  // as read out, columns turned, rows turned, both
	int bits;
	bool packed;
};

const std::array<RawFormat, 5> kRawFormats = { {
	{ { formats::SRGGB10, formats::SGRBG10, formats::SGBRG10, formats::SBGGR10 }, 10, false },
	{ { formats::SRGGB10_CSI2P, formats::SGRBG10_CSI2P, formats::SGBRG10_CSI2P, formats::SBGGR10_CSI2P }, 10, true },
	{ { formats::SRGGB12, formats::SGRBG12, formats::SGBRG12, formats::SBGGR12 }, 12, false },
	{ { formats::SRGGB12_CSI2P, formats::SGRBG12_CSI2P, formats::SGBRG12_CSI2P, formats::SBGGR12_CSI2P }, 12, true },
	{ { formats::SRGGB16, formats::SGRBG16, formats::SGBRG16, formats::SBGGR16 }, 16, false },
} };

const RawFormat *raw_format(const PixelFormat &format)
{
	for (const RawFormat &known : kRawFormats)
		if (std::find(known.orders.begin(), known.orders.end(), format) != known.orders.end())
			return &known;
	return nullptr;
}

const RawFormat &raw_format(int bits, bool packed)
{
	for (const RawFormat &known : kRawFormats)
		if (known.bits == bits && known.packed == packed)
			return known;
	std::abort();
}

struct Flips {
	bool columns = false, rows = false;

	size_t order() const { return columns + 2 * rows; }
};

std::optional<Flips> flips_of(Orientation orientation)
{
	switch (orientation) {
	case Orientation::Rotate0: return Flips{ false, false };
	case Orientation::Rotate0Mirror: return Flips{ true, false };
	case Orientation::Rotate180: return Flips{ true, true };
	case Orientation::Rotate180Mirror: return Flips{ false, true };
	default: return std::nullopt;  // a sensor cannot turn by 90 degrees
	}
}

void flip(std::vector<uint16_t> &raw, int columns, Flips flips)
{
	if (flips.rows)
		std::reverse(raw.begin(), raw.end());
	if (flips.rows != flips.columns)
		for (auto row = raw.begin(); row != raw.end(); row += columns)
			std::reverse(row, row + columns);
}

const std::array<std::pair<PixelFormat, int>, 4> kColourFormats = { {
	{ formats::XBGR8888, 4 }, { formats::XRGB8888, 4 }, { formats::BGR888, 3 }, { formats::RGB888, 3 },
} };

int bytes_per_pixel(const PixelFormat &format)  // 0: YUV420
{
	for (const auto &[known, bytes] : kColourFormats)
		if (known == format)
			return bytes;
	return 0;
}

unsigned aligned(unsigned value, unsigned to) { return (value + to - 1) / to * to; }

// --- what is asked of the sensor, and when it has effect ---

struct Asked {
	bool automatic_exposure = true, automatic_gain = true;
	double exposure_us = 10'000, gain = 1;
	int64_t shortest_us = 33'333, longest_us = 120'000;
	std::array<float, 2> colour_gains = { 1, 1 };

	void take(const ControlList &controls)
	{
		if (auto mode = controls.get(controls::ExposureTimeMode))
			automatic_exposure = *mode == controls::ExposureTimeModeAuto;
		if (auto mode = controls.get(controls::AnalogueGainMode))
			automatic_gain = *mode == controls::AnalogueGainModeAuto;
		if (auto us = controls.get(controls::ExposureTime); us && !automatic_exposure)
			exposure_us = *us;
		if (auto value = controls.get(controls::AnalogueGain); value && !automatic_gain)
			gain = *value;
		if (auto limits = controls.get(controls::FrameDurationLimits)) {
			shortest_us = (*limits)[0];
			longest_us = (*limits)[1];
		}
		if (auto gains = controls.get(controls::ColourGains))
			colour_gains = { (*gains)[0], (*gains)[1] };
	}
};

struct Applied {
	double exposure_us, gain, frame_us;
	std::array<float, 2> colour_gains;
};

Applied applied(const Mode &mode, const Asked &exposure, const Asked &gain, int64_t frame)
{
	const double restless = 1 + 0.2 * std::sin(0.7 * static_cast<double>(frame));
	const double longest_us = std::max<int64_t>(exposure.longest_us, mode.frame_us);
	const double most_lines = std::min<double>(kLongestLines, longest_us / mode.line_us() - kExposureOffsetLines);
	const double wanted_us = exposure.automatic_exposure ? 10'000 * restless : exposure.exposure_us;
	const double lines = std::clamp<double>(std::floor(wanted_us / mode.line_us()), kShortestLines, std::floor(most_lines));
	const double wanted_gain = gain.automatic_gain ? 1.5 * restless : gain.gain;
	const double code = std::clamp<double>(std::round(kGainSteps * (1 - 1 / wanted_gain)), 0, kLargestGainCode);
	const double needed_us = (lines + kExposureOffsetLines) * mode.line_us();
	return { lines * mode.line_us(), kGainSteps / (kGainSteps - code),
		 std::max({ needed_us, static_cast<double>(mode.frame_us), static_cast<double>(exposure.shortest_us) }),
		 gain.colour_gains };
}

class Pace
{
public:
	void start(const Mode &mode, const ControlList *controls)
	{
		Asked asked;
		if (controls)
			asked.take(*controls);
		mode_ = &mode;
		asked_ = exposure_ = gain_ = asked;
		exposures_.clear();
		gains_.clear();
		frame_ = -1;
		readout_ns_ = clock_ns(CLOCK_MONOTONIC);
	}

	// Moves on to the first frame that is read out after `queued_ns`; a request's controls act some frames after that.
	void next(int64_t queued_ns, const ControlList &controls)
	{
		do {
			++frame_;
			take_effect(exposures_, exposure_);
			take_effect(gains_, gain_);
			now_ = applied(*mode_, exposure_, gain_, frame_);
			readout_ns_ += static_cast<int64_t>(now_.frame_us * 1e3);
		} while (readout_ns_ < queued_ns);
		if (controls.empty())
			return;
		asked_.take(controls);
		exposures_.emplace_back(frame_ + kExposureDelay, asked_);
		gains_.emplace_back(frame_ + kGainDelay, asked_);
	}

	const Mode &mode() const { return *mode_; }
	const Applied &now() const { return now_; }
	int64_t frame() const { return frame_; }
	int64_t readout_ns() const { return readout_ns_; }
	Shot shot() const
	{
		return { mode_->rows, mode_->columns, mode_->bits, now_.exposure_us * 1e-6, now_.gain, mode_->line_us() * 1e-6, readout_ns_ };
	}

private:
	using Schedule = std::deque<std::pair<int64_t, Asked>>;

	void take_effect(Schedule &schedule, Asked &asked)
	{
		for (; !schedule.empty() && schedule.front().first <= frame_; schedule.pop_front())
			asked = schedule.front().second;
	}

	const Mode *mode_ = nullptr;
	Asked asked_, exposure_, gain_;
	Schedule exposures_, gains_;
	Applied now_ = {};
	int64_t frame_ = -1, readout_ns_ = 0;
};

// --- the one camera; configured and started by libcamera's thread, run by the camera's own ---

struct HilCamera {
	std::string name;
	const Mode *mode = &kModes[1];
	Flips flips;
	Pace pace;
	std::unique_ptr<SceneFile> scene;
	std::unique_ptr<VirtualSensor> sensor;
	std::optional<std::vector<uint16_t>> raw;  // nothing where the scene could not be read
	size_t buffers_left = 0;
};

HilCamera &hilcam()
{
	static HilCamera camera;
	return camera;
}

void complain(const std::exception &error) { std::fprintf(stderr, "hilcam: %s\n", error.what()); }

bool is_ours(const Camera *camera) { return camera->id() == hilcam().name; }

template<typename Function>
Function *stock(const char *mangled)
{
	void *found = dlsym(RTLD_NEXT, mangled);
	if (!found) {
		std::fprintf(stderr, "hilcam: this libcamera does not export %s\n", mangled);
		std::abort();
	}
	return reinterpret_cast<Function *>(found);
}

ControlInfoMap controls_of(const Mode &mode)
{
	const auto us = [&](int lines) { return static_cast<int32_t>(std::ceil(lines * mode.line_us())); };
	const Rectangle crop(0, 0, mode.crop.size());
	ControlInfoMap::Map map;
	map.emplace(&controls::ExposureTime, ControlInfo(us(kShortestLines), us(kLongestLines), 20'000));
	map.emplace(&controls::AnalogueGain, ControlInfo(1.0f, float(kGainSteps) / (kGainSteps - kLargestGainCode), 1.0f));
	map.emplace(&controls::ExposureTimeMode, ControlInfo(Span<const ControlValue>(controls::ExposureTimeModeValues)));
	map.emplace(&controls::AnalogueGainMode, ControlInfo(Span<const ControlValue>(controls::AnalogueGainModeValues)));
	map.emplace(&controls::AeEnable, ControlInfo(false, true, true));
	map.emplace(&controls::AwbEnable, ControlInfo(false, true, true));
	map.emplace(&controls::ColourGains, ControlInfo(0.0f, 32.0f, 1.0f));
	map.emplace(&controls::FrameDurationLimits, ControlInfo(int64_t(mode.frame_us), kLongestFrameUs, int64_t(33'333)));
	map.emplace(&controls::ScalerCrop, ControlInfo(Rectangle(0, 0, 64, 64), mode.crop, mode.crop));
	map.emplace(&controls::draft::NoiseReductionMode, ControlInfo(Span<const ControlValue>(controls::draft::NoiseReductionModeValues)));
	return ControlInfoMap(std::move(map), controls::controls);
}

void dress(Camera *camera)
{
	hilcam().name = camera->id();
	auto &properties = const_cast<ControlList &>(camera->properties());
	properties.set(properties::Model, "imx477");
	properties.set(properties::Rotation, 0);
	properties.set(properties::PixelArraySize, kArray);
	const std::array<Rectangle, 1> active = { Rectangle(kArray) };
	properties.set(properties::PixelArrayActiveAreas, Span<const Rectangle>(active));
	properties.set(properties::UnitCellSize, Size(1550, 1550));
	properties.set(properties::ScalerCropMaximum, Rectangle(kArray));
	properties.set(properties::draft::ColorFilterArrangement, int32_t(properties::draft::RGGB));
	const_cast<ControlInfoMap &>(camera->controls()) = controls_of(*hilcam().mode);
}

// --- streams ---

StreamFormats raw_formats()
{
	std::map<PixelFormat, std::vector<SizeRange>> map;
	for (const RawFormat &raw : kRawFormats)
		for (const Mode &mode : kModes)
			if (mode.bits == raw.bits)
				map[raw.orders[0]].emplace_back(mode.size());
	return StreamFormats(map);
}

StreamFormats colour_formats()
{
	std::map<PixelFormat, std::vector<SizeRange>> map;
	for (const auto &[format, bytes] : kColourFormats)
		map[format].emplace_back(Size(64, 64), kArray);
	map[formats::YUV420].emplace_back(Size(64, 64), kArray);
	return StreamFormats(map);
}

const Mode &smallest_mode(int bits, const Size &size)
{
	const Mode *chosen = nullptr;
	for (const Mode &mode : kModes)
		if (mode.bits == bits && (!chosen || chosen->size() < size))
			chosen = &mode;
	return *chosen;
}

class HilConfiguration : public CameraConfiguration
{
public:
	Status validate() override
	{
		Status status = Valid;
		if (config_.empty() || config_.size() > 3)
			return Invalid;
		if (!flips_of(orientation)) {
			orientation = Orientation::Rotate0;
			status = Adjusted;
		}
		mode_ = &chosen_mode();
		for (StreamConfiguration &stream : config_) {
			const PixelFormat format = stream.pixelFormat;
			const Size size = stream.size;
			if (raw_format(format))
				fit_raw(stream);
			else
				fit_colour(stream);
			if (stream.pixelFormat != format || stream.size != size)
				status = Adjusted;
			stream.bufferCount = std::max(stream.bufferCount, 1u);
		}
		return status;
	}

	const Mode &mode() const { return *mode_; }
	Flips flips() const { return *flips_of(orientation); }

private:
	const Mode &chosen_mode() const
	{
		if (sensorConfig && sensorConfig->isValid())
			return smallest_mode(sensorConfig->bitDepth == 10 ? 10 : 12, sensorConfig->outputSize);
		for (const StreamConfiguration &stream : config_)
			if (const RawFormat *raw = raw_format(stream.pixelFormat))
				return smallest_mode(raw->bits == 10 ? 10 : 12, stream.size);
		return smallest_mode(12, config_[0].size);
	}

	void fit_raw(StreamConfiguration &stream) const
	{
		const bool packed = raw_format(stream.pixelFormat)->packed;
		const RawFormat &given = raw_format(is_pi5() && !packed ? 16 : mode_->bits, packed);
		stream.pixelFormat = given.orders[flips().order()];
		stream.size = mode_->size();
		stream.stride = aligned(packed ? mode_->columns * mode_->bits / 8 : 2 * mode_->columns, is_pi5() ? 64 : 32);
		stream.frameSize = stream.stride * mode_->rows;
		stream.colorSpace = ColorSpace::Raw;
	}

	void fit_colour(StreamConfiguration &stream) const
	{
		if (stream.pixelFormat != formats::YUV420 && !bytes_per_pixel(stream.pixelFormat))
			stream.pixelFormat = formats::XBGR8888;
		stream.size.boundTo(kArray);
		const unsigned bytes = bytes_per_pixel(stream.pixelFormat);
		stream.stride = aligned(stream.size.width * std::max(bytes, 1u), is_pi5() ? 64 : 32);
		stream.frameSize = stream.stride * stream.size.height * (bytes ? 2 : 3) / 2;
		if (!stream.colorSpace)
			stream.colorSpace = ColorSpace::Sycc;
	}

	const Mode *mode_ = &kModes[1];
};

// --- pixels ---

void pack(const uint16_t *in, uint8_t *out, int columns, int bits)
{
	const int group = bits == 10 ? 4 : 2, low = bits - 8;
	for (int column = 0; column < columns; column += group) {
		uint8_t rest = 0;
		for (int i = 0; i < group; ++i) {
			*out++ = static_cast<uint8_t>(in[column + i] >> low);
			rest |= static_cast<uint8_t>((in[column + i] & ((1 << low) - 1)) << (low * i));
		}
		*out++ = rest;
	}
}

void write_raw(const StreamConfiguration &stream, const Mode &mode, const std::vector<uint16_t> &raw, uint8_t *out)
{
	const RawFormat &form = *raw_format(stream.pixelFormat);
	for (int row = 0; row < mode.rows; ++row, out += stream.stride) {
		const uint16_t *in = &raw[static_cast<size_t>(row) * mode.columns];
		if (form.packed)
			pack(in, out, mode.columns, form.bits);
		else
			for (int column = 0; column < mode.columns; ++column)
				reinterpret_cast<uint16_t *>(out)[column] = static_cast<uint16_t>(in[column] << (form.bits - mode.bits));
	}
}

void write_grey(const StreamConfiguration &stream, const Mode &mode, const std::vector<uint16_t> &raw, uint8_t *out)
{
	const unsigned bytes = std::max(bytes_per_pixel(stream.pixelFormat), 1);
	std::memset(out, 128, stream.frameSize);  // of YUV420: no colour
	for (unsigned row = 0; row < stream.size.height; ++row, out += stream.stride) {
		const uint16_t *in = &raw[static_cast<size_t>(row) * mode.rows / stream.size.height * mode.columns];
		for (unsigned column = 0; column < stream.size.width; ++column)
			std::memset(out + bytes * column, in[static_cast<size_t>(column) * mode.columns / stream.size.width] >> (mode.bits - 8), bytes);
	}
}

int write_buffer(const Stream *stream, const FrameBuffer *buffer)
{
	const StreamConfiguration &configuration = stream->configuration();
	const FrameBuffer::Plane &plane = buffer->planes()[0];  // one plane holds all, as Picamera2 allocates
	const size_t length = plane.offset + configuration.frameSize;
	void *memory = buffer->planes().size() == 1 && plane.length >= configuration.frameSize
			       ? mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, plane.fd.get(), 0) : MAP_FAILED;
	if (memory == MAP_FAILED) {
		std::fprintf(stderr, "hilcam: a buffer that is too small, or of several planes\n");
		return -1;
	}
	auto *out = static_cast<uint8_t *>(memory) + plane.offset;
	const bool raw = raw_format(configuration.pixelFormat);
	(raw ? write_raw : write_grey)(configuration, hilcam().pace.mode(), *hilcam().raw, out);
	munmap(memory, length);
	return 0;
}

void describe(Request *request, const Pace &pace, double temperature_c)
{
	auto &metadata = const_cast<ControlList &>(request->metadata());
	const int32_t black = static_cast<int32_t>(VirtualSensor::kBlackLevel * 65536);
	const std::array<int32_t, 4> blacks = { black, black, black, black };
	metadata.set(controls::SensorTimestamp, pace.readout_ns());
	metadata.set(controls::ExposureTime, static_cast<int32_t>(std::lround(pace.now().exposure_us)));
	metadata.set(controls::AnalogueGain, static_cast<float>(pace.now().gain));
	metadata.set(controls::DigitalGain, 1.0f);
	metadata.set(controls::ColourGains, Span<const float, 2>(pace.now().colour_gains));
	metadata.set(controls::FrameDuration, static_cast<int64_t>(pace.now().frame_us));
	metadata.set(controls::SensorTemperature, static_cast<float>(temperature_c));
	metadata.set(controls::SensorBlackLevels, Span<const int32_t, 4>(blacks));
	metadata.set(controls::ScalerCrop, pace.mode().crop);
}

void begin_frame(Request *request)
{
	HilCamera &camera = hilcam();
	const int64_t queued_ns = request->metadata().get(controls::SensorTimestamp).value_or(0);  // the stock handler's stamp
	camera.pace.next(queued_ns, request->controls());
	const Shot shot = camera.pace.shot();
	const int64_t ready_ns = shot.readout_ns + static_cast<int64_t>(shot.rows * shot.line_s * 1e9);
	std::this_thread::sleep_for(std::chrono::nanoseconds(ready_ns - clock_ns(CLOCK_MONOTONIC)));
	camera.raw.reset();
	try {
		camera.scene->refresh();
		camera.raw = camera.sensor->expose(*camera.scene, shot);
		flip(*camera.raw, shot.columns, camera.flips);
		describe(request, camera.pace, camera.scene->scene().at("temperature_c"));
	} catch (const std::exception &error) {
		complain(error);
	}
}

}  // namespace

// --- what libcamera.so calls by these names ---

void PipelineHandler::registerCamera(std::shared_ptr<Camera> camera)
{
	static auto *real = stock<void(PipelineHandler *, std::shared_ptr<Camera>)>(
		"_ZN9libcamera15PipelineHandler14registerCameraESt10shared_ptrINS_6CameraEE");
	const bool first = hilcam().name.empty() || is_ours(camera.get());  // again: libcamera was closed and opened
	if (first && camera->id().starts_with("/base/hil/"))
		dress(camera.get());
	real(this, std::move(camera));
}

std::unique_ptr<CameraConfiguration> PipelineHandlerVirtual::generateConfiguration(Camera *camera, Span<const StreamRole> roles)
{
	if (!is_ours(camera))
		return nullptr;
	auto configuration = std::make_unique<HilConfiguration>();
	for (StreamRole role : roles) {
		const bool raw = role == StreamRole::Raw;
		StreamConfiguration stream(raw ? raw_formats() : colour_formats());
		stream.pixelFormat = raw ? formats::SRGGB12_CSI2P : formats::XBGR8888;
		stream.size = role == StreamRole::Raw || role == StreamRole::StillCapture ? kArray : Size(1920, 1080);
		stream.bufferCount = raw || role == StreamRole::StillCapture ? 2 : 4;
		configuration->addConfiguration(stream);
	}
	if (!roles.empty())
		configuration->validate();
	return configuration;
}

int PipelineHandlerVirtual::configure(Camera *camera, CameraConfiguration *configuration)
{
	hilcam().mode = &static_cast<HilConfiguration *>(configuration)->mode();
	hilcam().flips = static_cast<HilConfiguration *>(configuration)->flips();
	auto stream = camera->streams().begin();
	for (StreamConfiguration &each : *configuration)
		each.setStream(*stream++);
	const_cast<ControlInfoMap &>(camera->controls()) = controls_of(*hilcam().mode);
	return 0;
}

int PipelineHandlerVirtual::start(Camera *camera, const ControlList *controls)
{
	static auto *real = stock<int(PipelineHandlerVirtual *, Camera *, const ControlList *)>(
		"_ZN9libcamera22PipelineHandlerVirtual5startEPNS_6CameraEPKNS_11ControlListE");
	HilCamera &own = hilcam();
	const char *path = std::getenv("HILCAM_SCENE");
	own.scene = std::make_unique<SceneFile>(path ? path : "");
	own.sensor = std::make_unique<VirtualSensor>(kSeed);
	try {
		own.scene->refresh();
	} catch (const std::exception &error) {
		complain(error);
		return -EINVAL;
	}
	own.pace.start(*own.mode, controls);
	own.buffers_left = 0;
	return real(this, camera, controls);
}

int TestPatternGenerator::generateFrame([[maybe_unused]] const Size &size, const FrameBuffer *buffer)
{
	HilCamera &camera = hilcam();
	Request *request = buffer->request();
	if (camera.buffers_left == 0) {
		camera.buffers_left = request->buffers().size();
		begin_frame(request);
	}
	--camera.buffers_left;
	auto &metadata = const_cast<FrameMetadata &>(buffer->metadata());
	metadata.sequence = static_cast<unsigned>(camera.pace.frame());
	metadata.timestamp = static_cast<uint64_t>(camera.pace.readout_ns());
	if (!camera.raw)
		return -1;
	for (const auto &[stream, each] : request->buffers())
		if (each == buffer)
			return write_buffer(stream, buffer);
	return -1;
}
