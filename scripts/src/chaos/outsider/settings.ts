/**
 * Environment for the apps of a suite that is judged. Holds of gateways that died between reserve and publish are found by the
 * comparison of Redis with the books, which takes two looks; with the usual minute between them the drain would take minutes.
 * Sweeps are as frequent.
 */
export const SUITE_SETTINGS = { SLUICE_DRIFT_INTERVAL: '5s', SLUICE_SWEEP_INTERVAL: '5s' } as const;
