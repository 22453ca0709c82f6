/**
 * The Python wheels that the set-up uses, each pinned by the sha256 of its bytes: MLX's own library
 * for each platform, and for `npm run check:darwin` the Zig compiler. To take another version,
 * download each wheel and put its hash here.
 *
 * @typedef {object} Wheel
 * @property {string} name of the package
 * @property {string} version
 * @property {string} platform the tag that pip is asked for
 * @property {string} sha256
 * @property {number} sizeBytes of the wheel, for the progress bar
 */

const mlxVersion = '0.32.4';
const zigVersion = '0.15.1';

/** @satisfies {Record<string, Wheel>} */
export const mlxWheels = {
  linuxX64: {
    name: 'mlx-cpu',
    version: mlxVersion,
    platform: 'manylinux_2_35_x86_64',
    sha256: '0e0a24fa2ce8b6b94d2e6a90604e8813aa8e29fcb918bb2aa01cfb6d133d8cee',
    sizeBytes: 10_486_971,
  },
  linuxArm64: {
    name: 'mlx-cpu',
    version: mlxVersion,
    platform: 'manylinux_2_35_aarch64',
    sha256: '1289e85e64af1fd16380bf331438bfe4afe875d27afc3e0bcf35f427c488fadd',
    sizeBytes: 8_957_465,
  },
  macos14: {
    name: 'mlx-metal',
    version: mlxVersion,
    platform: 'macosx_14_0_arm64',
    sha256: '8019b2db622599267d66cc168b2f0dbf5af929790a6c3b3913e00eabc42a7947',
    sizeBytes: 44_958_619,
  },
  macos15: {
    name: 'mlx-metal',
    version: mlxVersion,
    platform: 'macosx_15_0_arm64',
    sha256: '9f0a3cc26d89724434d9684932fc6f3e4e83669d2a895d858ed2c8a55eb84e8b',
    sizeBytes: 44_942_974,
  },
  macos26: {
    name: 'mlx-metal',
    version: mlxVersion,
    platform: 'macosx_26_0_arm64',
    sha256: '514df92d41a286895d2564b4b18f4da45096bd7a4a0c47e1042f345ad5a7f936',
    sizeBytes: 78_106_861,
  },
};

/** @satisfies {Record<string, Wheel>} */
export const zigWheels = {
  x64: {
    name: 'ziglang',
    version: zigVersion,
    platform: 'manylinux_2_12_x86_64',
    sha256: '4e45994a0e608d9b16ecad255698f5557a2e24de0bd7ba9efb156ab3f3683d9a',
    sizeBytes: 93_506_712,
  },
  arm64: {
    name: 'ziglang',
    version: zigVersion,
    platform: 'manylinux_2_17_aarch64',
    sha256: '6c32697f9e165b7b6c5950ab0a1cd2e2bc3e72f4ff2d59bc5121b2b71955a77a',
    sizeBytes: 90_536_567,
  },
};

/**
 * The wheel that holds MLX for a machine, or undefined where Apple makes none.
 * @param {{ platform: string, arch: string, release: string }} machine `release` is os.release():
 *   Darwin 23 is macOS 14, 24 is 15, 25.2 is 26.2. The wheel tagged 26.0 is built for 26.2 and
 *   newer (its library's own minimum), so older 26 take the one for 15.
 * @returns {Wheel | undefined}
 */
export function mlxWheel({ platform, arch, release }) {
  if (platform === 'linux' && arch === 'x64') return mlxWheels.linuxX64;
  if (platform === 'linux' && arch === 'arm64') return mlxWheels.linuxArm64;
  if (platform !== 'darwin' || arch !== 'arm64') return undefined;
  const [major = 0, minor = 0] = release.split('.').map(Number);
  if (major > 25 || (major === 25 && minor >= 2)) return mlxWheels.macos26;
  if (major >= 24) return mlxWheels.macos15;
  return major === 23 ? mlxWheels.macos14 : undefined;
}
