// A simulated image sensor: raw numbers of a scene file as a function of exposure and gain. It knows nothing of libcamera.
//
// The scene file is written by privcam's simulator (tests/picamera2_scene.py): a 16-bit PGM whose level 65535 is `white_e_per_s`
// electrons per second, optics and colour filters already in it; its comment lines carry the sensor's numbers. What is simulated
// here is what needs the frame's own exposure: electrons, shot and read noise (one Gaussian, as privcam's `gaussian_chain`: too
// symmetric below some 20 electrons), full well, gain, converter, black level, and a scene that changes within a rolling exposure.
// Deliberately not here: optics, fixed pattern, row noise, anything after the raw numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <map>
#include <optional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <sys/stat.h>
#include <time.h>
#include <vector>

inline int64_t clock_ns(clockid_t clock)
{
	timespec now;
	clock_gettime(clock, &now);
	return now.tv_sec * 1'000'000'000LL + now.tv_nsec;
}

struct Scene {
	int rows = 0, columns = 0;
	std::vector<float> e_per_s;
	std::map<std::string, double> numbers;

	double at(const std::string &name) const
	{
		auto found = numbers.find(name);
		if (found == numbers.end())
			throw std::runtime_error("the scene file does not say " + name);
		return found->second;
	}
};

inline Scene read_scene(const std::string &path)
{
	std::ifstream file(path, std::ios::binary);
	Scene scene;
	std::string line;
	if (!std::getline(file, line) || line != "P5")
		throw std::runtime_error("no 16-bit PGM at " + path);
	while (file.peek() == '#' && std::getline(file, line)) {
		std::istringstream words(line.substr(1));
		std::string name;
		double value;
		if (words >> name >> value)
			scene.numbers[name] = value;
	}
	int most = 0;
	file >> scene.columns >> scene.rows >> most;
	file.get();
	std::vector<unsigned char> bytes(2UL * scene.rows * scene.columns);
	if (most != 65535 || !file.read(reinterpret_cast<char *>(bytes.data()), bytes.size()))
		throw std::runtime_error("a cut scene file: " + path);
	const double unit = scene.at("white_e_per_s") / 65535;
	scene.e_per_s.resize(bytes.size() / 2);
	for (size_t i = 0; i < scene.e_per_s.size(); ++i)
		scene.e_per_s[i] = static_cast<float>(unit * (bytes[2 * i] << 8 | bytes[2 * i + 1]));
	return scene;
}

// The scene as it is and as it was before, with the time of the change: a file is shown from the moment it got its name.
class SceneFile
{
public:
	explicit SceneFile(std::string path) : path_(std::move(path)) {}

	void refresh()
	{
		struct stat now;
		if (stat(path_.c_str(), &now) != 0)
			throw std::runtime_error("no scene file at " + path_);
		const int64_t changed = now.st_ctim.tv_sec * 1'000'000'000LL + now.st_ctim.tv_nsec;
		if (changed == changed_ && now.st_ino == inode_)
			return;
		Scene next = read_scene(path_);
		before_ = inode_ ? std::move(scene_) : next;
		scene_ = std::move(next);
		changed_ = changed;
		inode_ = now.st_ino;
	}

	int64_t changed_monotonic_ns() const { return changed_ - clock_ns(CLOCK_REALTIME) + clock_ns(CLOCK_MONOTONIC); }
	const Scene &scene() const { return scene_; }
	const Scene &before() const { return before_; }

private:
	std::string path_;
	Scene scene_, before_;
	int64_t changed_ = 0;
	ino_t inode_ = 0;
};

struct Shot {
	int rows, columns, bits;
	double exposure_s, gain, line_s;
	int64_t readout_ns;  // of the first row: the end of its exposure, on CLOCK_MONOTONIC, as Linux stamps a Pi's frames
};

class VirtualSensor
{
public:
	static constexpr double kBlackLevel = 4096.0 / 65536;  // share of the range; libcamera's imx477.json: rpi.black_level 4096

	explicit VirtualSensor(unsigned seed) : row_start_(seed), noise_(1 << 20)
	{
		std::mt19937 generator(seed);
		std::normal_distribution<float> normal;
		for (float &value : noise_)
			value = normal(generator);
	}

	// Returns DN [row][column]. A scene smaller than the frame lies in its middle, at an even row and column; around it is dark.
	const std::vector<uint16_t> &expose(const SceneFile &file, const Shot &shot)
	{
		const Scene &scene = file.scene();
		if (scene.rows > shot.rows || scene.columns > shot.columns)
			throw std::runtime_error("the scene is larger than the frame");
		raw_.resize(static_cast<size_t>(shot.rows) * shot.columns);
		line_.resize(shot.columns);
		const int top = (shot.rows - scene.rows) / 4 * 2;
		const double since_change_s = (shot.readout_ns - file.changed_monotonic_ns()) * 1e-9;
		for (int row = 0; row < shot.rows; ++row) {
			const double after = std::clamp((since_change_s + row * shot.line_s) / shot.exposure_s, 0.0, 1.0);
			std::fill(line_.begin(), line_.end(), 0.0f);
			add(scene, row - top, after, shot.columns);
			if (after < 1)
				add(file.before(), row - (shot.rows - file.before().rows) / 4 * 2, 1 - after, shot.columns);
			read_out(scene, shot, &raw_[static_cast<size_t>(row) * shot.columns]);
		}
		return raw_;
	}

private:
	void add(const Scene &scene, int row, double share, int columns)
	{
		if (row < 0 || row >= scene.rows || scene.columns > columns)
			return;
		const float *light = &scene.e_per_s[static_cast<size_t>(row) * scene.columns];
		float *line = &line_[(columns - scene.columns) / 4 * 2];
		for (int column = 0; column < scene.columns; ++column)
			line[column] += static_cast<float>(share) * light[column];
	}

	void read_out(const Scene &scene, const Shot &shot, uint16_t *out)
	{
		const float most = static_cast<float>((1 << shot.bits) - 1), black = static_cast<float>(kBlackLevel * (1 << shot.bits));
		const float gain = static_cast<float>(scene.at("gain_dn_per_e") * shot.gain * std::exp2(shot.bits - 12));
		const float dark = static_cast<float>(scene.at("dark_e_per_s")), well = static_cast<float>(scene.at("full_well_e"));
		const float exposure = static_cast<float>(shot.exposure_s), read = static_cast<float>(scene.at("read_noise_e"));
		const float *noise = &noise_[row_start_() % (noise_.size() - shot.columns)];
		for (int column = 0; column < shot.columns; ++column) {
			const float mean = (line_[column] + dark) * exposure;
			const float electrons = std::min(mean + std::sqrt(mean + read * read) * noise[column], well);
			out[column] = static_cast<uint16_t>(std::clamp(black + gain * electrons + 0.5f, 0.0f, most));
		}
	}

	std::minstd_rand row_start_;
	std::vector<float> noise_, line_;
	std::vector<uint16_t> raw_;
};
