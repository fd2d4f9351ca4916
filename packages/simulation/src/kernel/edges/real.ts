/** What the edges replace, as it was before: for the simulation's own program, which lives in real time. */
export const realSetImmediate = globalThis.setImmediate;
export const realDate = globalThis.Date;
export const realNowMs = globalThis.performance.now.bind(globalThis.performance);
