// Colours and markers of the families.
import { FAMILIES, families } from "./points.js";

// Index of a family's colour and marker: its place in the order, and the two after that in turn for other families.
const style = (family) => {
  const place = FAMILIES.indexOf(family);
  const others = families.filter((name) => !FAMILIES.includes(name));
  return Math.min(place >= 0 ? place : FAMILIES.length + (others.indexOf(family) % 2), MARKERS.length - 1);
};
export const round = (value) => Math.round(value * 10) / 10;
export const tint = (family) => `family-${style(family)}`;

// Closed path through n points at even angles, the first one on top; every other one at `inner` of the radius.
const polygon = (n, inner = 1) => (x, y, r) => "M" + Array.from({ length: n }, (_, place) => {
  const angle = 2 * Math.PI * place / n, length = 1.1 * r * (place % 2 ? inner : 1);
  return `${round(x + length * Math.sin(angle))},${round(y - length * Math.cos(angle))}`;
}).join("L") + "Z";

const MARKERS = [
  (x, y, r) => `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`,
  (x, y, r) => `M${x},${y - 1.15 * r}l${1.15 * r},${2 * r}h${-2.3 * r}Z`,
  (x, y, r) => `M${x},${y + 1.15 * r}l${1.15 * r},${-2 * r}h${-2.3 * r}Z`,
  (x, y, r) => `M${x - 0.9 * r},${y - 0.9 * r}h${1.8 * r}v${1.8 * r}h${-1.8 * r}Z`,
  (x, y, r) => `M${x},${y - 1.25 * r}l${1.25 * r},${1.25 * r}l${-1.25 * r},${1.25 * r}l${-1.25 * r},${-1.25 * r}Z`,
  (x, y, r) => `M${x - r},${y - 0.35 * r}h${0.65 * r}v${-0.65 * r}h${0.7 * r}v${0.65 * r}h${0.65 * r}v${0.7 * r}h${-0.65 * r}v${0.65 * r}h${-0.7 * r}v${-0.65 * r}h${-0.65 * r}Z`,
  (x, y, r) => `M${x - r},${y}l${0.5 * r},${-0.9 * r}h${r}l${0.5 * r},${0.9 * r}l${-0.5 * r},${0.9 * r}h${-r}Z`,
  (x, y, r) => `M${x - 1.15 * r},${y}l${2 * r},${-1.15 * r}v${2.3 * r}Z`,
  (x, y, r) => `M${x + 1.15 * r},${y}l${-2 * r},${-1.15 * r}v${2.3 * r}Z`,
  polygon(5),
  polygon(10, 0.45),
  (x, y, r) => `M${x},${y - 1.3 * r}l${0.75 * r},${1.3 * r}l${-0.75 * r},${1.3 * r}l${-0.75 * r},${-1.3 * r}Z`,
  polygon(6, 0.4),
  polygon(8, 0.4),
  polygon(6),
];
export const marker = (family, x, y, r) => MARKERS[style(family)](round(x), round(y), r);
