// Keeps every file that the page was served, so that it opens without a network. Trust does not come from here: what is cached
// is verified again each time.

const CACHE = "plimsoll-demo";

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("message", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(event.data)).then(() => event.ports[0].postMessage("kept")));
});
self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET") return;
  const kept = () => caches.match(event.request, { ignoreSearch: true }).then((found) => found ?? Response.error());
  // The network first, so that a new release is seen as soon as there is one.
  event.respondWith(fetch(event.request).catch(kept));
});
