(() => {
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const figures = [...document.querySelectorAll("figure.plot")].map(figure => ({
    area: figure.querySelector(".area"),
    spec: figure.querySelector("script").textContent,
  }));
  const template = () => {
    const line = css("--line"), text = css("--text");
    const axis = { gridcolor: line, linecolor: line, zerolinecolor: line, automargin: true, title: { standoff: 10 } };
    return { layout: {
      colorway: [0, 1, 2, 3, 4, 5, 6, 7].map(i => css("--c" + i)),
      colorscale: { sequential: [[0, css("--card")], [1, css("--c0")]] },
      font: { color: text, family: getComputedStyle(document.body).fontFamily, size: 13 },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      xaxis: axis, yaxis: axis, margin: { l: 16, r: 16, t: 28, b: 16 },
      legend: { orientation: "h", x: 0, xanchor: "left", yref: "container", y: 0, yanchor: "bottom" },
      hoverlabel: { bgcolor: css("--card"), bordercolor: line, font: { color: text } },
    } };
  };
  // A finger must scroll the page, not zoom the figure.
  const touch = matchMedia("(pointer: coarse)").matches;
  const config = { responsive: true, displayModeBar: false };
  const draw = () => figures.forEach(({ area, spec }) => {
    const { data, layout } = JSON.parse(spec);
    Object.assign(layout, { template: template(), autosize: true });
    if (touch) layout.dragmode = false;
    Plotly.react(area, data, layout, config);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
