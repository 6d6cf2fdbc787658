// Monaco runs its language services in workers. Each is a file of our own origin, so the page's
// Content-Security-Policy needs neither `blob:` nor another host. WORKERS is set by build.mjs.
globalThis.MonacoEnvironment = {
  getWorker(_id, label) {
    const file = WORKERS[label] ?? WORKERS.editor;
    return new Worker(new URL(file, import.meta.url), { name: label });
  },
};
