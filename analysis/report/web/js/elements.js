// Elements of the page and of its figures. Every text goes in as a text node.

export const $ = (id) => document.getElementById(id);
export const plot = $("plot");

const SVG = "http://www.w3.org/2000/svg";
const appendAll = (node, children) => {
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
};
export const make = (name, attributes = {}, ...children) => {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null) node.setAttribute(key, value);
  }
  return appendAll(node, children);
};
export const draw = (name, attributes = {}, ...children) => {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return appendAll(node, children);
};
