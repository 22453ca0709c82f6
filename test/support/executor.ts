/**
 * The executor that tests of the whole run on: the suite passes on both, and `.ci/run` says which
 * by CIDERY_EXECUTOR.
 */
export const testExecutor = process.env['CIDERY_EXECUTOR'] === 'mlx' ? 'mlx' : 'cpu';
