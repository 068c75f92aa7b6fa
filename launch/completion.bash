# Completion in bash, in a checkout: `source launch/completion.bash`, then TAB behind --config=, --config.,
# --sweep= and launch.list. Names are those of `python -m launch.list`.

_synjax_names() { # the first column of a list
  python -m launch.list "$@" 2> /dev/null | awk '{print $1}'
}

_synjax() {
  local line="${COMP_LINE:0:COMP_POINT}" word names="" config
  word="${line##* }"
  COMPREPLY=()
  [[ $line == *launch.* ]] || return 0
  case "$word" in
    --config=*,*) ;; # a preset or a folder
    --config=*:*) names="$(_synjax_names methods)" ;;
    --config=*) names="$(_synjax_names configs)" ;;
    --sweep=*:*) ;;
    --sweep=*) names="$(ls configs/sweeps/[!_]*.py)" ;;
    --config.*=*) ;;
    --config.*)
      config="$(grep -o -- '--config=[^ ]*' <<< "$line" | tail -n 1)"
      names="$(_synjax_names fields "${config#--config=}" | sed 's/.*/--config.&=/')"
      ;;
    *) [[ $line == *"launch.list "* ]] && names="methods datasets configs fields runs" ;;
  esac
  COMPREPLY=($(compgen -W "$names" -- "${word##*[=:]}")) # bash replaces what stands behind = and :
}

complete -o default -o nospace -F _synjax python python3
