// The limit against the time since the last sync, as SVG. Ages are rounded up to the next certified one, so it is a staircase.

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 640, HEIGHT = 300, LEFT = 74, RIGHT = 16, TOP = 16, BOTTOM = 44;

function add(svg, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  svg.append(element);
}

/** A round number at or above `value`. */
function roundUp(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value);
}

/**
 * points: [{ hours, limit, certified }] rising, in minor units; cap: of the tier; now: hours; money: minor units to text.
 */
export function draw(svg, { points, cap, now, hoursMax, money }) {
  svg.querySelectorAll(":scope > :not(title)").forEach((old) => old.remove());
  const most = Math.max(...points.map((point) => point.limit), 1);
  const top = roundUp(most * 1.2);
  const x = (hours) => LEFT + ((WIDTH - LEFT - RIGHT) * hours) / hoursMax;
  const y = (minor) => HEIGHT - BOTTOM - ((HEIGHT - TOP - BOTTOM) * Math.min(minor, top)) / top;

  for (const share of [0, 0.5, 1]) {
    add(svg, "line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(top * share), y2: y(top * share) });
    add(svg, "text", { x: LEFT - 10, y: y(top * share) + 5, "text-anchor": "end" }, money(top * share).replace(/\.00$/, ""));
  }
  for (let hours = 0; hours <= hoursMax; hours += 24) {
    add(svg, "text", { x: x(hours), y: HEIGHT - 14, "text-anchor": hours === 0 ? "start" : "middle" }, hours === 0 ? "sync" : `${hours} h`);
  }

  const stairs = (of) => {
    let path = `M${x(0)},${y(of(points[0]))}`;
    for (const point of points) path += `V${y(of(point))}H${x(point.hours)}`;
    return `${path}V${y(0)}`;
  };
  const line = stairs((point) => point.limit);
  add(svg, "path", { class: "area", d: `${line}H${x(0)}Z` });
  if (cap <= top) add(svg, "line", { class: "cap", x1: LEFT, x2: WIDTH - RIGHT, y1: y(cap), y2: y(cap) });
  add(svg, "path", { class: "certified", d: stairs((point) => point.certified) });
  add(svg, "path", { class: "limit", d: `${line}H${x(hoursMax)}` });

  const here = points.find((point) => point.hours >= now)?.limit ?? 0;
  add(svg, "line", { class: "now", x1: x(now), x2: x(now), y1: TOP, y2: HEIGHT - BOTTOM });
  add(svg, "circle", { class: "dot", cx: x(now), cy: y(here), r: 6 });
}
